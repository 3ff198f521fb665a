package admin

import (
	"testing"

	"k8s.io/client-go/tools/clientcmd/api"
)

func TestNamespaceOfContext(t *testing.T) {
	t.Parallel()
	raw := &api.Config{CurrentContext: "a", Contexts: map[string]*api.Context{"a": {Namespace: "cd"}, "b": {}}}
	for name, want := range map[string]string{"": "cd", "a": "cd", "b": "argocd", "c": "argocd"} {
		if got := contextNamespace(raw, name); got != want {
			t.Errorf("context %q: %s, want %s", name, got, want)
		}
	}
}
