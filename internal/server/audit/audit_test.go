package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	clocks "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/audit"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 7, time.UTC)

func app(t *testing.T, spec string) *v1alpha1.Application {
	t.Helper()
	a := &v1alpha1.Application{}
	if err := yaml.Unmarshal([]byte("metadata: {namespace: argocd, name: web, uid: u1, resourceVersion: '5', labels: {team: shop, secret-label: x}}\nspec: "+spec), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func call(who access.Principal) *route.Call {
	c := route.NewCall(&route.Route{Spec: route.Spec{Method: "PUT", Path: "/api/v1/applications/{name}"}}, who, nil)
	c.Client = "192.0.2.1"
	return c
}

func TestDifference(t *testing.T) {
	before := app(t, `{project: a, source: {repoURL: "https://git/x", targetRevision: v1, helm: {values: "password: canary1", parameters: [{name: p, value: canary2}]}}, destination: {name: one}}`)
	after := app(t, `{project: a, source: {repoURL: "https://git/x", targetRevision: v2, helm: {values: "password: canary3", parameters: [{name: p, value: canary4}]}}, destination: {name: one, namespace: x}, syncPolicy: {syncOptions: [A=b]}}`)
	after.ResourceVersion, after.Status.Sync.Status = "6", "Synced"
	got, whole := audit.Difference(before, after)
	want := []audit.Change{
		{Field: ".spec.destination.namespace", After: "x"},
		{Field: ".spec.source.helm.parameters", Before: "***", After: "***"},
		{Field: ".spec.source.helm.values", Before: "***", After: "***"},
		{Field: ".spec.source.targetRevision", Before: "v1", After: "v2"},
		{Field: ".spec.syncPolicy.syncOptions", After: []any{"A=b"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || !whole {
		t.Error(diff)
	}
	created, _ := audit.Difference(nil, before)
	if text := fmt.Sprint(created); strings.Contains(text, "canary") || !strings.Contains(text, "https://git/x") {
		t.Errorf("created: %s", text)
	}
	if gone, _ := audit.Difference(before, (*v1alpha1.Application)(nil)); len(gone) != len(created) {
		t.Errorf("deleted: %v", gone)
	}
	for i := range 200 {
		after.Spec.Info = append(after.Spec.Info, v1alpha1.Info{Name: fmt.Sprint(i), Value: strings.Repeat("long ", 1000)})
	}
	many, whole := audit.Difference(before, after)
	raw, err := json.Marshal(many)
	if err != nil || len(raw) > 64<<10 {
		t.Errorf("%d bytes, %v, whole %v", len(raw), err, whole)
	}
	secret := &corev1.Secret{Data: map[string][]byte{"k": []byte("canary")}, StringData: map[string]string{"s": "canary"}}
	if masked, _ := audit.Difference(&corev1.Secret{}, secret); strings.Contains(fmt.Sprint(masked), "canary") || strings.Contains(fmt.Sprint(masked), "Y2FuYXJ5") || len(masked) != 2 {
		t.Errorf("a Secret: %v", masked)
	}
}

func TestEntries(t *testing.T) {
	alice := access.Principal{Subject: "s1", Name: "alice@example.com", Issuer: "https://idp", Groups: []string{"devs"}, TokenID: "j1"}
	a := app(t, "{project: a}")
	done := audit.Entries(route.Record{Call: call(alice), Acts: []route.Act{{Object: a, Reason: "ResourceUpdated", Message: "updated application spec", Before: a, After: app(t, "{project: b}")}}}, now)
	if len(done) != 1 || done[0].User != "alice@example.com" || done[0].From != "192.0.2.1" || done[0].Code != "OK" || done[0].Object != "Application/argocd/web" ||
		done[0].Message != "alice@example.com updated application spec" || len(done[0].Changes) != 1 || done[0].Call != "PUT /api/v1/applications/{name}" {
		t.Errorf("%+v", done)
	}
	refused := audit.Entries(route.Record{Call: call(access.Principal{Name: "mallory\nlevel=INFO msg=forged"}), Code: fault.PermissionDenied, Message: "permission denied"}, now)
	if len(refused) != 1 || refused[0].Code != "PermissionDenied" || refused[0].Refusal != "permission denied" || strings.Contains(refused[0].User, "\n") || refused[0].Object != "" {
		t.Errorf("%+v", refused)
	}
	if e := audit.Entries(route.Record{Call: call(access.Principal{}), Acts: []route.Act{{Reason: "ResourceCreated", Message: "created token"}}}, now); e[0].Message != "Unknown user created token" {
		t.Errorf("%+v", e)
	}
}

// hub takes events.
type hub struct {
	client.Client
	events chan *corev1.Event
}

func (h hub) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if e, ok := o.(*corev1.Event); ok {
		h.events <- e
	}
	return nil
}

func TestAuditor(t *testing.T) {
	var log bytes.Buffer
	h := hub{events: make(chan *corev1.Event, 10)}
	a, err := audit.New(audit.Options{
		Client: h, Namespace: "argocd", Reasons: func() []string { return []string{"ResourceUpdated"} }, Log: slog.New(slog.NewJSONHandler(&log, nil)), Clock: clocks.NewFakePassiveClock(now),
		Project: func(name string) (*v1alpha1.AppProject, bool) {
			p := &v1alpha1.AppProject{}
			p.Labels = map[string]string{"team": "everybody", "tier": "gold", "secret-b": "x"}
			return p, name == "a"
		},
		Config: func() map[string]string {
			return map[string]string{"resource.includeEventLabelKeys": "team, tier, secret*", "resource.excludeEventLabelKeys": "secret-*"}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go a.Run(t.Context())
	who := access.Principal{Name: "alice", Subject: "alice", Issuer: "argocd"}
	update := route.Act{Object: app(t, "{project: a}"), Reason: "ResourceUpdated", Message: "updated application spec"}
	a.Record(t.Context(), route.Record{Call: call(who), Acts: []route.Act{update, {Object: app(t, "{project: a}"), Reason: "OperationStarted", Message: "x"}}})
	a.Record(t.Context(), route.Record{Call: call(who), Acts: []route.Act{update}, Code: fault.Internal, Message: "failed"})
	project := &v1alpha1.AppProject{}
	project.Namespace, project.Name = "argocd", "team"
	a.Record(t.Context(), route.Record{Call: call(who), Acts: []route.Act{{Object: project, Reason: "ResourceUpdated", Message: "updated project"}}})
	first, second := <-h.events, <-h.events
	if first.InvolvedObject.Kind == "AppProject" { // there are several writers
		first, second = second, first
	}
	if first.Name != fmt.Sprintf("web.%x", now.UnixNano()) || first.Reason != "ResourceUpdated" || first.Message != "alice updated application spec" || first.Source.Component != "argocd-server" ||
		first.InvolvedObject.UID != "u1" || first.InvolvedObject.APIVersion != "argoproj.io/v1alpha1" || first.Annotations["user"] != "alice" || fmt.Sprint(first.Labels) != "map[team:shop tier:gold]" {
		t.Errorf("%+v", first)
	}
	if second.Annotations != nil || second.Message != "alice updated project" {
		t.Errorf("%+v", second)
	}
	if len(h.events) != 0 {
		t.Error("a reason that is not listed, or a call that failed, makes an event")
	}
	before, lines := "", 0
	for s := bufio.NewScanner(&log); s.Scan(); lines++ {
		var line struct {
			Entry        json.RawMessage
			Before, Seal string
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(before + "\n" + string(line.Entry)))
		if line.Before != before || line.Seal != hex.EncodeToString(sum[:16]) {
			t.Errorf("line %d does not follow the one before: %s", lines, s.Text())
		}
		before = line.Seal
	}
	if lines != 4 {
		t.Errorf("%d lines", lines)
	}
}

// TestAuditNeverWaits: a hub that takes nothing stops nobody.
func TestAuditNeverWaits(t *testing.T) {
	var log bytes.Buffer
	a, err := audit.New(audit.Options{Client: hub{}, Log: slog.New(slog.NewJSONHandler(&log, nil)), Clock: clocks.NewFakePassiveClock(now), Config: func() map[string]string { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	act := route.Act{Object: app(t, "{}"), Reason: "ResourceUpdated", Message: "x"}
	for range 3000 {
		a.Record(t.Context(), route.Record{Call: call(access.Principal{}), Acts: []route.Act{act}})
	}
	if n := strings.Count(log.String(), `"msg":"audit"`); n != 3000 {
		t.Errorf("%d lines in the log", n)
	}
}
