package notice_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/sluice-cd/sluice/internal/domain/notice"
)

const appText = `{
  "metadata": {"name": "web", "namespace": "argocd"},
  "spec": {"source": {"repoURL": "git@github.com:org/web.git"}},
  "status": {
    "sync": {"status": "Synced", "revision": "abc", "revisions": ["a", "b"]},
    "health": {"status": "Degraded"},
    "conditions": [{"type": "SyncError", "message": "x"}, {"type": "Other", "message": "y"}],
    "operationState": {"phase": "Failed", "startedAt": "2026-01-02T03:00:05Z", "operation": {"info": [{"name": "ticket", "value": "T-1"}]}}
  }
}`

func subject(t *testing.T) *notice.Subject {
	t.Helper()
	s := &notice.Subject{
		Project: map[string]any{"metadata": map[string]any{"name": "team"}}, Context: map[string]string{"argocdUrl": "https://cd.example.com"},
		Secrets: map[string][]byte{"token": []byte("s3cret")},
		Now:     func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
	if err := json.Unmarshal([]byte(appText), &s.App); err != nil {
		t.Fatal(err)
	}
	return s
}

// one evaluates an expression as the only condition of a trigger.
func one(t *testing.T, when, once string) (notice.Outcome, error) {
	t.Helper()
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	c := notice.Parse(map[string]string{"trigger.t": "- when: " + quote(when) + "\n  oncePer: " + quote(once) + "\n  send: [a]\n"})
	if err := c.Problems["trigger.t"]; err != nil {
		return notice.Outcome{}, err
	}
	return c.Triggers["t"].Evaluate(t.Context(), subject(t))[0], nil
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		when, once string
		holds      bool
		value      string
		// problem is part of the error, at reading or at evaluation.
		problem string
	}{
		{when: ""},
		{when: "true", holds: true},
		{when: "app.status.operationState.phase in ['Error', 'Failed']", holds: true},
		{when: "app.status.health.status == 'Degraded' and not (app.status.sync.status == 'OutOfSync')", once: "app.status.sync.revision", holds: true, value: "abc"},
		{when: "true", once: "app.status.sync.revisions", holds: true, value: "a,b"},
		{when: "true", once: "app.status.absent", holds: true},
		{when: "true", once: "app.status", holds: true, problem: "oncePer: gives map"},
		{when: "false", once: "app.absent.field"},
		{when: "app.status.absent.phase == 'x'", problem: "when: cannot fetch phase"},
		{when: "app.status?.absent?.phase == 'x'"},
		{when: "app.status.sync.status", problem: "when: gives string, not true or false"},
		{when: "time.Now().Sub(time.Parse(app.status.operationState.startedAt)).Minutes() >= 4", holds: true},
		{when: "time.Now().Sub(time.Parse(app.status.operationState.startedAt)) > 5 * time.Minute"},
		{when: "time.Parse(app.status.absent) == time.Now()", problem: "when: "},
		{when: "strings.ToLower(app.status.health.status) + '!' == 'degraded!'", holds: true},
		{when: "strings.ReplaceAll(app.metadata.name, 'w', 'W') == 'Web'", holds: true},
		{when: "repo.FullNameByRepoURL(app.spec.source.repoURL) == 'org/web' && repo.RepoURLToHTTPS(app.spec.source.repoURL) == 'https://github.com/org/web.git'", holds: true},
		{when: "repo.QueryEscape('a b') == 'a+b' and context.argocdUrl startsWith 'https' and appProject.metadata.name == 'team'", holds: true},
		{when: "sync.GetInfoItem(app, 'ticket') == 'T-1' and sync.GetInfoItem(app, 'none') == ''", holds: true},
		{when: "string(secrets.token) != ''", holds: true},
		{when: "any(app.status.conditions, {#.type == 'SyncError'}) and len(filter(app.status.conditions, {.type == 'Other'})) == 1", holds: true},
		{when: "app.status.conditions | map(.type) | first() == 'SyncError'", holds: true},
		{when: "[app.metadata.name, 'x'][0] == 'web' and {'a': app.metadata.name}.a == 'web' and app.metadata.name in [app.metadata.name]", holds: true},
		{when: "1 + 2 == 3 and time.Now() + time.Hour > time.Now()", holds: true},
		{when: "repo.GetCommitMetadata(app.status.sync.revision).Author == 'x'", problem: "repo.GetCommitMetadata asks the repository"},
		{when: "app.status ==", problem: "trigger.t [0].when is no expression"},
		{when: "application.status == 'x'", problem: "unknown name application"},
		{when: "env('HOME') != ''", problem: "env"},
		{when: "now() > 1", problem: "now"},
		{when: "timezone('UTC') == nil", problem: "timezone"},
		{when: "len(1..10) > 1", problem: "range"},
		{when: "_step()", problem: "_step"},
		{when: strings.Repeat(" ", 9000) + "x", problem: "at most 8192"},
	} {
		got, err := one(t, c.when, c.once)
		if err == nil {
			err = got.Err
		}
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: %v, want %q", c.when, err, c.problem)
		}
		if got.Holds != c.holds || got.OncePer != c.value {
			t.Errorf("%s: %+v", c.when, got)
		}
	}
}

// TestConditionsAreBounded: what grows or does not end is refused before it has
// grown.
func TestConditionsAreBounded(t *testing.T) {
	t.Parallel()
	var doubled, listed strings.Builder
	doubled.WriteString("let a0 = app.metadata.name; ")
	listed.WriteString("let a0 = [app.metadata.name]; ")
	for i := range 60 {
		a, b := "a"+string(rune('A'+i/10))+string(rune('0'+i%10)), "a0"
		if i > 0 {
			b = "a" + string(rune('A'+(i-1)/10)) + string(rune('0'+(i-1)%10))
		}
		doubled.WriteString("let " + a + " = " + b + " + " + b + "; ")
		listed.WriteString("let " + a + " = [" + b + ", " + b + "]; ")
	}
	loop := "split(string(app.status), '')"
	for name, c := range map[string]struct{ when, problem string }{
		"texts":    {doubled.String() + "true", "more than 1048576 bytes"},
		"lists":    {listed.String() + "true", "more than 1048576 bytes"},
		"loops":    {"count(" + loop + ", {count(" + loop + ", {count(" + loop + ", {true}) != 7}) != 7}) != 7", "takes more than 200000 steps"},
		"reduce":   {"len(reduce(" + loop + ", #acc + #acc, 'xx')) > 0", "more than 1048576 bytes"},
		"replaced": {"len(reduce(" + loop + ", strings.ReplaceAll(#acc, 'x', 'xxxxxxxxxx'), 'xx')) > 0", "more than 1048576 bytes"},
		"many":     {"all(" + loop + ", {len(map(" + loop + ", {'" + strings.Repeat("x", 500) + "' + #})) > 0})", "too many large values"},
		"nodes":    {strings.Repeat("1 == 1 and ", 600) + "true", "nodes"},
	} {
		got, err := one(t, c.when, "")
		if err == nil {
			err = got.Err
		}
		if err == nil || !strings.Contains(err.Error(), c.problem) || got.Holds {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := notice.Parse(map[string]string{"trigger.t": "when: \"all(" + loop + ", {# != '~'})\""})
	if got := c.Triggers["t"].Evaluate(ctx, subject(t)); len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "takes too long") {
		t.Errorf("after the time: %+v, %v", got, c.Problems)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	c := notice.Parse(map[string]string{
		"service.slack": "token: $slack-token", "service.webhook.ci": "url: https://ci.example.com", "service.a.b.c": "", "service": "",
		"template.ok": "message: hello", "template.list": "[]", "template.number": "message: 3", "template.": "message: x", "template.with.dots": "email: {subject: x}",
		"trigger.ok": "[{when: 'true', send: [ok], description: d}]", "trigger.single": "{when: 'true', send: [ok]}", "trigger.text": "true", "trigger.broken": "[",
		"trigger.once": "[{when: 'true', oncePer: '('}]", "trigger.many": "[" + strings.Repeat("{},", 51) + "{}]",
		"context": "argocdUrl: https://cd.example.com", "config.yaml": "triggers: []", "defaultTriggers": "[ok]", "subscriptions": "[]",
	})
	if diff := cmp.Diff(map[string]string{"slack": "slack", "ci": "webhook"}, c.Services); diff != "" {
		t.Error(diff)
	}
	if len(c.Triggers) != 2 || len(c.Triggers["single"]) != 1 || c.Triggers["ok"][0].When != "true" || c.Triggers["ok"][0].Send[0] != "ok" {
		t.Errorf("triggers: %+v", c.Triggers)
	}
	if len(c.Templates) != 2 || c.Templates["with.dots"] == nil || c.Context["argocdUrl"] != "https://cd.example.com" {
		t.Errorf("templates: %+v, context: %v", c.Templates, c.Context)
	}
	want := map[string]string{
		"service.a.b.c": "write service.TYPE", "service": "write service.TYPE", "template.list": "is no map with message", "template.number": "message that is no text",
		"trigger.text": "is no list of conditions", "trigger.broken": "is no YAML", "trigger.once": "[0].oncePer is no expression", "trigger.many": "52 conditions", "config.yaml": "no longer read",
	}
	for key, err := range c.Problems {
		if want[key] == "" || !strings.HasPrefix(err.Error(), "ConfigMap/argocd-notifications-cm: key "+key+" ") && !strings.HasPrefix(err.Error(), "ConfigMap/argocd-notifications-cm: key "+key+"[") || !strings.Contains(err.Error(), want[key]) {
			t.Errorf("%s: %v", key, err)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("no problem with %v", want)
	}
	if c := notice.Parse(map[string]string{"context": "[]"}); c.Problems["context"] == nil {
		t.Error("a context that is no map is taken")
	}
}

// upper renders a text as itself in capitals, with what it is for.
type upper struct{ fail bool }

func (u upper) Render(text string, values map[string]any, _ []string) (string, error) {
	if u.fail {
		return "", errors.New("cannot be rendered")
	}
	return strings.ToUpper(text) + " " + values["serviceType"].(string) + ":" + values["recipient"].(string), nil
}

func TestRender(t *testing.T) {
	t.Parallel()
	to := notice.Destination{Service: "slack", Recipient: "ops"}
	first := notice.Template{"message": "one", "slack": map[string]any{"attachments": "a", "notifyBroadcast": true}, "webhook": map[string]any{"ci": map[string]any{"headers": []any{"h", 1.0}}}}
	second := notice.Template{"message": "two", "slack": map[string]any{"blocks": "b"}}
	got, err := notice.Render(t.Context(), []notice.Template{first, second}, subject(t), to, upper{})
	if err != nil {
		t.Fatal(err)
	}
	want := notice.Message{
		"message": "TWO slack:ops", "slack": map[string]any{"attachments": "A slack:ops", "blocks": "B slack:ops", "notifyBroadcast": true},
		"webhook": map[string]any{"ci": map[string]any{"headers": []any{"H slack:ops", 1.0}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if first["message"] != "one" {
		t.Error("a template was changed")
	}
	deep := map[string]any{}
	for range 30 {
		deep = map[string]any{"x": deep}
	}
	many := make([]any, 501)
	for i := range many {
		many[i] = "x"
	}
	for name, c := range map[string]struct {
		template notice.Template
		renderer upper
		problem  string
	}{
		"error": {notice.Template{"slack": map[string]any{"blocks": []any{"x"}}}, upper{fail: true}, "slack.blocks[0]: cannot be rendered"},
		"deep":  {notice.Template{"slack": deep}, upper{}, "nested more than 20"},
		"many":  {notice.Template{"slack": many}, upper{}, "more than 500 texts"},
		"large": {notice.Template{"a": strings.Repeat("x", 600<<10), "b": strings.Repeat("x", 600<<10)}, upper{}, "b: the message has more than 1048576 bytes"},
	} {
		if _, err := notice.Render(t.Context(), []notice.Template{c.template}, subject(t), to, c.renderer); err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := notice.Render(ctx, []notice.Template{first}, subject(t), to, upper{}); err == nil || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("after the time: %v", err)
	}
}

// BenchmarkEvaluate is what a controller does for every trigger of every change
// of an Application.
func BenchmarkEvaluate(b *testing.B) {
	c := notice.Parse(map[string]string{"trigger.t": "when: app.status.operationState.phase in ['Error', 'Failed'] and any(app.status.conditions, {.type == 'Other'})\noncePer: app.status.sync.revision"})
	s := &notice.Subject{Now: time.Now}
	if err := json.Unmarshal([]byte(appText), &s.App); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got := c.Triggers["t"].Evaluate(b.Context(), s); !got[0].Holds {
			b.Fatalf("%+v", got)
		}
	}
}
