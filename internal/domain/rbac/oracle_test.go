package rbac_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

type question struct {
	Policy   [][]string `json:"policy"`
	Requests [][]string `json:"requests"`
}

// words of random policies: few enough to meet, odd enough to hurt.
var (
	subjects = []string{"alice", "bob", "role:a", "role:b", "role:c", "devs", "", "proj:p:r"}
	patterns = map[string][]string{
		"res": {"applications", "projects", "*", "app*", "{applications,logs}", "[a-l]*", "logs"},
		"act": {"get", "sync", "*", "action/*", "action/*/*/restart", "{get,sync}", "delete/*/Pod/*/*", "g?t", ""},
		"obj": {"p/a", "p/*", "*", "*/*", "p*", "q/ns/a", "[pq]/a", "[!p]/*", "{p,q}/{a,b}", `p/\*`, "", "[", "p/?", "*/a", "p/a*b*"},
	}
	values = map[string][]string{
		"res": {"applications", "projects", "logs"},
		"act": {"get", "sync", "action/apps/Deployment/restart", "delete//Pod/ns/x", "delete"},
		"obj": {"p/a", "q/a", "q/ns/a", "p/*", "", "p", "p/ab", "p/axbyb", "[", "p/", "p/a\nb"},
	}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func randomQuestion(r *rand.Rand) question {
	var q question
	for range r.IntN(20) {
		q.Policy = append(q.Policy, []string{"p", pick(r, subjects), pick(r, patterns["res"]), pick(r, patterns["act"]), pick(r, patterns["obj"]), pick(r, []string{"allow", "allow", "deny"})})
	}
	for range r.IntN(8) {
		q.Policy = append(q.Policy, []string{"g", pick(r, subjects), pick(r, subjects)})
	}
	for range 40 {
		q.Requests = append(q.Requests, []string{pick(r, subjects), pick(r, values["res"]), pick(r, values["act"]), pick(r, values["obj"])})
	}
	return q
}

func (q question) text() string {
	var out strings.Builder
	for _, line := range q.Policy {
		for i, token := range line {
			if i > 0 {
				out.WriteString(", ")
			}
			out.WriteString(`"` + token + `"`)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// casbin asks the real one, which is pinned in the module test/oracle.
func casbin(t *testing.T, all []question) []string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "casbin")
	build := exec.Command("go", "build", "-o", bin, "./casbin")
	build.Dir = "../../../test/oracle"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build casbin: %v: %s", err, out)
	}
	var in bytes.Buffer
	for _, q := range all {
		if err := json.NewEncoder(&in).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(bin)
	c.Stdin = &in
	out, err := c.Output()
	if err != nil {
		t.Fatalf("casbin: %v", err)
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(all) {
		t.Fatalf("%d answers to %d questions", len(answers), len(all))
	}
	return answers
}

// TestSameAsCasbin compares random policies and requests, one subject each,
// with what casbin answers: once with all lines in the policy, and once with
// some of them in the roles of the project that the request is about.
func TestSameAsCasbin(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	all := make([]question, 1000)
	for i := range all {
		all[i] = randomQuestion(r)
	}
	allowed, layered := 0, 0
	for i, answers := range casbin(t, all) {
		whole, split := all[i].rules(t, len(all[i].Policy)), all[i].rules(t, r.IntN(len(all[i].Policy)+1))
		for n, request := range all[i].Requests {
			want := answers[n] == 'y'
			what := access.Request{Resource: request[1], Action: request[2], Object: request[3]}
			whole.DefaultRole = request[0] // is asked first and alone; the empty subject last
			d := whole.Explain(access.Principal{}, what)
			got := d.Allowed && (d.Step == rbac.StepDefault || request[0] == "")
			if got != want {
				t.Errorf("%v: %v, casbin says %v, by\n%s", request, got, want, all[i].text())
			}
			if got {
				allowed++
			}
			if request[1] == "projects" || !strings.HasPrefix(request[3], "p/") || request[0] == "" {
				continue
			}
			d = split.Explain(access.Principal{Subject: request[0]}, what)
			got = d.Allowed && (d.Step == rbac.StepSubject || d.Step == rbac.StepToken)
			if got != want {
				t.Errorf("%v: %v with roles of a project, casbin says %v, by\n%s", request, got, want, all[i].text())
			}
			if got {
				layered++
			}
		}
	}
	if allowed < 1000 || layered < 500 {
		t.Errorf("only %d and %d requests are allowed: the comparison shows little", allowed, layered)
	}
}

// TestSiftAnswersLikeAllowed asks for many objects at once, and one by one, for
// principals with groups and tokens of projects, of random policies with half of
// the lines in a project.
func TestSiftAnswersLikeAllowed(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 11))
	yes, no := 0, 0
	for range 3000 {
		q := randomQuestion(r)
		rules := q.rules(t, r.IntN(len(q.Policy)+1))
		if r.IntN(3) == 0 {
			rules.DefaultRole = pick(r, subjects)
		}
		who := access.Principal{Subject: pick(r, append([]string{"proj:q:r"}, subjects...))}
		for range r.IntN(4) {
			who.Groups = append(who.Groups, pick(r, subjects))
		}
		resource, action := pick(r, values["res"]), pick(r, values["act"])
		allowed := rules.Sift(who, resource, action)
		for range 3 {
			object := pick(r, values["obj"])
			want := rules.Allowed(who, access.Request{Resource: resource, Action: action, Object: object})
			if got := allowed(object); got != want {
				t.Errorf("%+v, %s %s %q: %v together and %v alone, by\n%s", who, resource, action, object, got, want, q.text())
			}
			if want {
				yes++
			} else {
				no++
			}
		}
	}
	if yes < 500 || no < 500 {
		t.Errorf("%d times yes and %d times no: the comparison shows little", yes, no)
	}
	if !(rbac.Rules{}).Sift(access.Principal{Unrestricted: true}, "applications", "get")("p/a") {
		t.Error("who is not restricted is refused")
	}
}

// rules puts the first lines into the policy, the others into project p.
func (q question) rules(t *testing.T, first int) rbac.Rules {
	t.Helper()
	head, tail := question{Policy: q.Policy[:first]}, question{Policy: q.Policy[first:]}
	text, err := rbac.Parse("policy.csv", head.text())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := rbac.CompileProject(rbac.Glob, project("p", v1alpha1.ProjectRole{Name: "unused", Policies: []string{tail.text()}}))
	if err != nil {
		t.Fatal(err)
	}
	return rbac.Rules{Policy: rbac.Compile(rbac.Glob, text), Project: func(name string) (*rbac.Layer, bool) { return layer, name == "p" }}
}

// team is a policy of n lines as large installations have it: many teams, each
// with a role and some lines, one group each.
func team(n int) string {
	var out strings.Builder
	for i := 0; i < n/5; i++ {
		fmt.Fprintf(&out, "p, role:team-%d, applications, get, team-%d/*, allow\n", i, i)
		fmt.Fprintf(&out, "p, role:team-%d, applications, sync, team-%d/*, allow\n", i, i)
		fmt.Fprintf(&out, "p, role:team-%d, applications, delete/*/Pod/*/*, team-%d/*, allow\n", i, i)
		fmt.Fprintf(&out, "p, role:team-%d, applications, *, team-%d/frozen-*, deny\n", i, i)
		fmt.Fprintf(&out, "g, group-%d, role:team-%d\n", i, i)
	}
	return out.String()
}

// one is a policy of n lines that all speak of one subject.
func one(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "p, role:all, applications, get, team-%d/*, allow\n", i)
	}
	return out.String() + "g, group-1, role:all\n"
}

func BenchmarkAllowed(b *testing.B) {
	for _, c := range []struct{ name, policy string }{{"teams", team(1000)}, {"one-subject", one(1000)}} {
		for _, q := range []struct {
			name, object string
		}{{"allowed", "team-1/app"}, {"denied", "elsewhere/app"}} {
			b.Run(c.name+"/"+q.name, func(b *testing.B) {
				l := rbac.NewLive()
				if _, err := l.Load(map[string]string{"policy.csv": c.policy, "policy.default": "role:nothing"}); err != nil {
					b.Fatal(err)
				}
				l.SetProject(project("team-1"))
				who := access.Principal{Subject: "somebody@example.com", Issuer: "https://idp", Groups: []string{"everyone", "staff", "group-2", "group-1"}}
				what := access.Request{Resource: "applications", Action: "get", Object: q.object}
				if l.Allowed(who, what) != (q.name == "allowed") {
					b.Fatal("a wrong answer")
				}
				b.ReportAllocs()
				for b.Loop() {
					l.Allowed(who, what)
				}
			})
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("p, a, applications, get, p/*, allow\ng, b, a", "regex", "p/x")
	f.Add("p, \"a\", *, {x,y}, [!a], deny\n#\n\n", "glob", "")
	f.Add("p,a,a,a,a\\,a", "", "\x00")
	f.Fuzz(func(t *testing.T, policy, mode, object string) {
		l := rbac.NewLive()
		data := map[string]string{"policy.csv": policy, "policy.matchMode": mode}
		_, err := l.Load(data)
		fatal := false
		for _, finding := range rbac.Validate(data) {
			fatal = fatal || finding.Fatal
		}
		if fatal != (err != nil) {
			t.Errorf("Validate says fatal %v, Load says %v", fatal, err)
		}
		who, what := access.Principal{Subject: "a", Issuer: "x", Groups: []string{"b"}}, access.Request{Resource: "applications", Action: "get", Object: object}
		if l.Allowed(who, what) != l.Explain(who, what).Allowed {
			t.Error("Allowed and Explain differ")
		}
	})
}
