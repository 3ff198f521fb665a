package connect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/console"
)

// dialer reads a command line in an environment.
func dialer(t *testing.T, env map[string]string, args ...string) (*Dialer, error) {
	t.Helper()
	home := t.TempDir()
	if env["ARGOCD_CONFIG_DIR"] == "" {
		env["ARGOCD_CONFIG_DIR"] = home
	}
	getenv := func(key string) string { return env[key] }
	d := &Dialer{Console: &console.Console{Getenv: getenv, Home: func() (string, error) { return home, nil }, Clock: clock.RealClock{}, Name: "argocd"}}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	d.Register(fs, getenv)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return d, d.Apply(getenv)
}

// TestPrecedence follows spec/cli.md §1.3: file, environment, ARGOCD_OPTS, flag.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := &config.File{CurrentContext: "one"}
	file.Put(config.Context{Name: "one", Server: config.Server{Server: "file:1", Insecure: true, GRPCWebRootPath: "root"}, User: config.User{Name: "one", AuthToken: "of-file"}})
	file.Put(config.Context{Name: "two", Server: config.Server{Server: "file:2", PlainText: true}, User: config.User{Name: "two", AuthToken: "of-two"}})
	for name, c := range map[string]struct {
		env                      map[string]string
		args                     []string
		server, token, root      string
		plain, insecure, prompts bool
	}{
		"file":        {map[string]string{}, nil, "file:1", "of-file", "root", false, true, false},
		"context":     {map[string]string{}, []string{"--argocd-context", "two"}, "file:2", "of-two", "", true, false, false},
		"environment": {map[string]string{"ARGOCD_SERVER": "env:1", "ARGOCD_AUTH_TOKEN": "of-env"}, nil, "env:1", "of-env", "root", false, true, false},
		"options":     {map[string]string{"ARGOCD_SERVER": "env:1", "ARGOCD_OPTS": "--server opts:1 --plaintext --prompts-enabled=true --prune"}, nil, "opts:1", "of-file", "root", true, true, true},
		"flags":       {map[string]string{"ARGOCD_SERVER": "env:1", "ARGOCD_OPTS": "--server 'opts:1'"}, []string{"--server", "flag:1", "--auth-token", " of-flag\n"}, "flag:1", "of-flag", "root", false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := dialer(t, c.env, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Change(t.Context(), func(f *config.File) error { *f = *file; return nil }); err != nil {
				t.Fatal(err)
			}
			o, err := d.Options()
			if err != nil {
				t.Fatal(err)
			}
			got := []any{o.Server, o.Token, o.RootPath, o.PlainText, o.Insecure, d.PromptsEnabled()}
			if diff := cmp.Diff([]any{c.server, c.token, c.root, c.plain, c.insecure, c.prompts}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOptionsErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"oops":               "ARGOCD_OPTS invalid at 'oops'",
		"--server a b":       "ARGOCD_OPTS invalid at 'b'",
		"--plaintext=true c": "ARGOCD_OPTS invalid at 'c'",
		"--server 'a":        "not closed",
		"--insecure maybe":   "ARGOCD_OPTS invalid at '--insecure'",
	} {
		if _, err := dialer(t, map[string]string{"ARGOCD_OPTS": text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if d, err := dialer(t, map[string]string{}, "--argocd-context", "gone"); err != nil {
		t.Fatal(err)
	} else if _, err := d.Options(); err == nil || !strings.Contains(err.Error(), "Context 'gone' undefined") {
		t.Errorf("a context that does not exist: %v", err)
	}
	if d, err := dialer(t, map[string]string{}, "--client-crt", "x"); err != nil {
		t.Fatal(err)
	} else if _, err := d.Options(); err == nil || !strings.Contains(err.Error(), "together") {
		t.Errorf("a certificate without its key: %v", err)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "a.b", "a.!.c", "a.e30x.c"} {
		if c := Read(bad); c != nil {
			t.Errorf("%q has claims %v", bad, c)
		}
	}
	c := Read("x.eyJpc3MiOiJhcmdvY2QiLCJzdWIiOiJhZG1pbjpsb2dpbiJ9.x") // {"iss":"argocd","sub":"admin:login"}
	if c == nil || !c.Local() || c.Who() != "admin" {
		t.Errorf("got %v", c)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	got, err := console.Words(`a 'b c' "d \"e\"" f\ g '' "$x"`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b c", `d "e"`, "f g", "", "$x"}, got); diff != "" {
		t.Error(diff)
	}
}
