package generate_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/generate"
)

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: name}, Data: data}
}

// TestPlugin: the config map says whom to ask as whom; M26 a service that does
// not answer changes nothing.
func TestPlugin(t *testing.T) {
	asked, hang := "", make(chan struct{})
	silent := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		asked = r.Header.Get("Authorization") + " " + string(body)
		_, _ = io.WriteString(w, `{"output": {"parameters": [{"id": "a"}, {"id": "b"}]}}`)
	}))
	defer server.Close()
	defer close(hang)
	secrets := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "argocd-secret"}, Data: map[string][]byte{"plugin": []byte("one")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "mine"}, Data: map[string][]byte{"key": []byte("two\n")}},
	}
	const set = "[{plugin: {configMapRef: {name: service}, input: {parameters: {x: {z: [1]}}}}}]"
	for name, c := range map[string]struct {
		config       map[string]string
		want, failed string
	}{
		"a key":            {map[string]string{"baseUrl": server.URL, "token": "$plugin"}, "Bearer one {", ""},
		"a Secret":         {map[string]string{"baseUrl": server.URL, "token": "$mine:key", "requestTimeout": "5"}, "Bearer two {", ""},
		"no such key":      {map[string]string{"baseUrl": server.URL, "token": "$mine:other"}, "", "ConfigMap service: token: Secret mine has no key other"},
		"no such Secret":   {map[string]string{"baseUrl": server.URL, "token": "$other:key"}, "", `secrets "other" not found`},
		"a token in clear": {map[string]string{"baseUrl": server.URL, "token": "clear"}, "", "token must name a key of a Secret"},
		"no address":       {map[string]string{"token": "$plugin"}, "", "baseUrl is not an http or https URL"},
		"no timeout":       {map[string]string{"baseUrl": server.URL, "token": "$plugin", "requestTimeout": "1h"}, "", "requestTimeout is no number of seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, generate.Rules{}, append(secrets, configMap("service", c.config))...)
			w.apply("set", spec(set, "{{id}}"))
			asked = ""
			_, err := w.evaluate("set")
			if c.failed != "" {
				if err == nil || !strings.Contains(err.Error(), c.failed) || asked != "" || strings.Contains(err.Error(), "clear\"") {
					t.Errorf("%v, asked %q", err, asked)
				}
				return
			}
			if err != nil || !strings.HasPrefix(asked, c.want) || !strings.Contains(asked, `{"applicationSetName":"set","input":{"parameters":{"x":{"z":[1]}}}}`) {
				t.Errorf("%v, asked %q", err, asked)
			}
			w.wantApps("a", "b")
		})
	}
	w := newWorld(t, generate.Rules{}, append(secrets, configMap("service", map[string]string{"baseUrl": server.URL, "token": "$plugin", "requestTimeout": "1"}))...)
	w.apply("set", spec(set, "{{id}}"))
	again, err := w.evaluate("set")
	if err != nil || again != 30*time.Minute {
		t.Fatalf("again after %s, %v", again, err)
	}
	silent = true
	w.clock.SetTime(start.Add(time.Hour))
	if _, err := w.evaluate("set"); err == nil || !strings.Contains(err.Error(), "gives no answer within 1s") {
		t.Errorf("%v", err)
	}
	w.wantApps("a", "b")
	w.wantCondition(v1alpha1.AppSetErrorOccurred, "plugin:", "nothing is deleted; the last complete answer, of 2026-07-01T12:00:00Z, is used")
	w = newWorld(t, generate.Rules{}, secrets...)
	w.apply("set", spec(set, "{{id}}"))
	if _, err := w.evaluate("set"); err == nil || !strings.Contains(err.Error(), `configmaps "service" not found`) {
		t.Errorf("%v", err)
	}
}

// TestDecisions (spec/applicationset.md §3.8): which resource is read, and what
// of it counts.
func TestDecisions(t *testing.T) {
	cluster := func(name string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelSecretType: "cluster"}},
			Data:       map[string][]byte{"name": []byte(name), "server": []byte("https://" + name)},
		}
	}
	item := func(names ...string) map[string]any {
		list := []any{}
		for _, n := range names {
			list = append(list, map[string]any{"clusterName": n, "reason": "x"})
		}
		return map[string]any{"metadata": map[string]any{"name": "p"}, "status": map[string]any{"decisions": list}}
	}
	good := map[string]string{"apiVersion": "cluster.example/v1beta1", "kind": "placementdecisions", "statusListKey": "decisions", "matchKey": "clusterName"}
	change := func(k, v string) map[string]string {
		out := map[string]string{}
		for key, value := range good {
			out[key] = value
		}
		out[k] = v
		return out
	}
	for name, c := range map[string]struct {
		config    map[string]string
		generator string
		found     []map[string]any
		want      []string
		failed    string
	}{
		"M25 one of two is known": {good, "name: p", []map[string]any{item("one", "unknown")}, []string{"a-one"}, ""},
		"several objects":         {good, "labelSelector: {matchLabels: {a: b}}", []map[string]any{item("one"), {"metadata": map[string]any{}}, item("two", "in-cluster")}, []string{"a-in-cluster", "a-one", "a-two"}, ""},
		"no decision":             {good, "name: p", []map[string]any{item()}, []string{}, ""},
		"no matchKey":             {change("matchKey", ""), "name: p", []map[string]any{item("one")}, []string{}, ""},
		"nothing found":           {good, "name: p", nil, nil, "no placementdecisions.cluster.example is found"},
		"another list":            {change("statusListKey", ""), "name: p", []map[string]any{item("one")}, []string{}, ""},
		"no list":                 {good, "name: p", []map[string]any{{"status": map[string]any{"decisions": "x"}}}, nil, "status.decisions of a placementdecisions is no list"},
		"no group":                {change("apiVersion", "v1"), "name: p", nil, nil, "apiVersion must be group/version"},
		"neither":                 {good, "values: {a: b}", nil, nil, "exactly one of name and labelSelector"},
		"both":                    {good, "name: p, labelSelector: {matchLabels: {a: b}}", nil, nil, "exactly one of name and labelSelector"},
		"no config map":           {nil, "name: p", nil, nil, `configmaps "placement" not found`},
		"a selector":              {good, "labelSelector: {matchExpressions: [{key: a, operator: Like}]}", nil, nil, "labelSelector"},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []client.Object
			if c.config != nil {
				objects = append(objects, configMap("placement", c.config))
			}
			w := newWorld(t, generate.Rules{}, objects...)
			w.sources.Settings = &declared{settings.Parse([]*corev1.Secret{cluster("one"), cluster("two")}, nil)}
			w.sources.Resources = func(_ context.Context, r schema.GroupVersionResource, name string, selector labels.Selector) ([]map[string]any, error) {
				if want := (schema.GroupVersionResource{Group: "cluster.example", Version: "v1beta1", Resource: "placementdecisions"}); r != want {
					t.Errorf("reads %v", r)
				}
				if byName := strings.Contains(c.generator, "name: p"); (name == "p") != byName || selector.Empty() != byName {
					t.Errorf("reads %q, %q", name, selector)
				}
				return c.found, nil
			}
			w.renew()
			w.apply("set", strings.Replace(spec("[{clusterDecisionResource: {configMapRef: placement, "+c.generator+"}}]", "a-{{name}}"), "name: in-cluster", "server: '{{server}}'", 1))
			again, err := w.evaluate("set")
			if c.failed != "" {
				if err == nil || !strings.Contains(err.Error(), c.failed) {
					t.Errorf("%v, want %s", err, c.failed)
				}
				return
			}
			if err != nil || again != 3*time.Minute {
				t.Fatalf("again after %s, %v", again, err)
			}
			w.wantApps(c.want...)
		})
	}
}
