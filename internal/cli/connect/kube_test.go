package connect

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

const kubeconfigText = `apiVersion: v1
kind: Config
current-context: a
clusters:
- {name: one, cluster: {server: https://one.example.com}}
- {name: two, cluster: {server: https://two.example.com}}
users: [{name: u, user: {token: of-the-file}}]
contexts:
- {name: a, context: {cluster: one, user: u, namespace: cd}}
- {name: b, context: {cluster: two, user: u}}
`

// TestKube: every flag of kubectl says what it says there.
func TestKube(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(kubeconfigText), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args                   []string
		otherwise              string
		server, token, ns, who string
	}{
		{nil, "", "https://one.example.com", "of-the-file", "cd", ""},
		{nil, "b", "https://two.example.com", "of-the-file", "argocd", ""},
		{[]string{"--context", "b"}, "a", "https://two.example.com", "of-the-file", "argocd", ""},
		{[]string{"--cluster", "two", "-n", "x", "--token", "t", "--as", "ann"}, "", "https://two.example.com", "t", "x", "ann"},
	} {
		k := &Kube{}
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		k.Register(fs, true)
		if err := fs.Parse(append(c.args, "--kubeconfig", path, "--request-timeout", "7s", "--insecure-skip-tls-verify", "--proxy-url", "http://proxy.example.com", "--tls-server-name", "name")); err != nil {
			t.Fatal(err)
		}
		cfg, ns, err := k.Config(c.otherwise)
		if err != nil {
			t.Fatalf("%v: %v", c.args, err)
		}
		if cfg.Host != c.server || cfg.BearerToken != c.token || ns != c.ns || cfg.Impersonate.UserName != c.who {
			t.Errorf("%v: %s, token %q, namespace %s, as %q", c.args, cfg.Host, cfg.BearerToken, ns, cfg.Impersonate.UserName)
		}
		if cfg.Timeout.Seconds() != 7 || !cfg.Insecure || cfg.Proxy == nil || cfg.ServerName != "name" {
			t.Errorf("%v: timeout %s, insecure %t, name %q", c.args, cfg.Timeout, cfg.Insecure, cfg.ServerName)
		}
	}
	if _, _, err := (&Kube{Path: filepath.Join(t.TempDir(), "absent")}).Config(""); err == nil {
		t.Error("an absent kubeconfig is no error")
	}
}

func TestKubeFlags(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	own := fs.String("username", "", "of something else")
	k := &Kube{}
	k.Register(fs, true)
	if err := fs.Parse([]string{"--username", "ann"}); err != nil || *own != "ann" || k.Overrides.AuthInfo.Username != "" {
		t.Errorf("%v: a flag that existed is another one now", err)
	}
	var names []string
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			names = append(names, f.Name)
		}
	})
	for _, want := range []string{"kubeconfig", "context", "cluster", "user", "namespace", "password", "token", "insecure-skip-tls-verify", "proxy-url", "request-timeout", "as", "as-group", "client-certificate", "client-key", "certificate-authority"} {
		if !slices.Contains(names, want) {
			t.Errorf("no flag --%s", want)
		}
	}
	if fs.Lookup("server") != nil {
		t.Error("--server is that of the API")
	}
}
