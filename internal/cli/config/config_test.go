package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := func() (string, error) { return home, nil }
	env := map[string]string{"XDG_CONFIG_HOME": "/xdg"}
	getenv := func(k string) string { return env[k] }
	expect := func(explicit, want string) {
		t.Helper()
		if got, err := Path(explicit, getenv, dir); got != want || err != nil {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	expect("", "/xdg/argocd/config")
	if err := os.Mkdir(filepath.Join(home, ".argocd"), 0o700); err != nil {
		t.Fatal(err)
	}
	expect("", filepath.Join(home, ".argocd", "config"))
	env["ARGOCD_CONFIG_DIR"] = "/dir"
	expect("", "/dir/config")
	expect("/mine", "/mine")
	delete(env, "ARGOCD_CONFIG_DIR")
	delete(env, "XDG_CONFIG_HOME")
	if err := os.Remove(filepath.Join(home, ".argocd")); err != nil {
		t.Fatal(err)
	}
	expect("", filepath.Join(home, ".config", "argocd", "config"))
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "config")
	if f, err := Read(path); f != nil || err != nil {
		t.Fatalf("no file: %v, %v", f, err)
	}
	err := Update(t.Context(), path, func(f *File) error {
		f.CurrentContext = "a"
		f.Put(Context{Name: "a", Server: Server{Server: "s", CertificateAuthorityData: []byte("pem")}, User: User{Name: "a", AuthToken: "t"}})
		f.Put(Context{Name: "b", Server: Server{Server: "s"}, User: User{Name: "b"}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	got, err := Read(path)
	if err != nil || len(got.Servers) != 1 || got.Users[0].AuthToken != "t" {
		t.Fatalf("%v, %v", got, err)
	}
	for mode, ok := range map[os.FileMode]bool{0o400: true, 0o600: true, 0o640: false, 0o644: false, 0o700: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); (err == nil) != ok {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if !got.Remove("a") || got.CurrentContext != "b" || len(got.Servers) != 1 || len(got.Users) != 1 {
		t.Errorf("without a: %v", got)
	}
	if got.Remove("a") || !got.Remove("b") || !got.Empty() {
		t.Errorf("without b: %v", got)
	}
}

// TestUpdate: what is not changed is not written, what fails changes nothing,
// the context before is remembered, and an empty file goes away.
func TestUpdate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	change := func(f func(f *File)) {
		t.Helper()
		if err := Update(t.Context(), path, func(file *File) error { f(file); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(func(*File) {})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("nothing was changed and something written: %v", err)
	}
	for _, name := range []string{"a", "b"} {
		change(func(f *File) {
			f.CurrentContext = name
			f.Put(Context{Name: name, Server: Server{Server: name}, User: User{Name: name}})
		})
	}
	if got := Previous(path); got != "a" {
		t.Errorf("the context before is %q", got)
	}
	refused := errors.New("refused")
	if err := Update(t.Context(), path, func(f *File) error { f.CurrentContext = "a"; return refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if f, err := Read(path); err != nil || f.CurrentContext != "b" {
		t.Errorf("a change that failed was written: %v, %v", f, err)
	}
	change(func(f *File) { f.Remove("b") })
	if got := Previous(path); got != "a" {
		t.Errorf("a context that is gone is remembered as the one before: %q", got)
	}
	change(func(f *File) { f.Remove("a") })
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("an empty file stays: %v", err)
	}
	if err := os.WriteFile(path, []byte("contexts: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Update(t.Context(), path, func(*File) error { return nil }); err == nil || !strings.Contains(err.Error(), "local config invalid") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"contexts: [":        "local config invalid",
		"current-context: x": "Context 'x' undefined",
		"current-context: x\ncontexts: [{name: x, server: s, user: u}]":                         "Server 's' undefined",
		"current-context: x\ncontexts: [{name: x, server: s, user: u}]\nservers: [{server: s}]": "User 'u' undefined",
	} {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestRemoveLeavesASoundContext: the file stays one that can be read.
func TestRemoveLeavesASoundContext(t *testing.T) {
	t.Parallel()
	f := &File{
		CurrentContext: "a", Contexts: []ContextRef{{Name: "a", Server: "s", User: "a"}, {Name: "broken", Server: "gone", User: "a"}, {Name: "b", Server: "s", User: "b"}},
		Servers: []Server{{Server: "s"}}, Users: []User{{Name: "a"}, {Name: "b"}},
	}
	if !f.Remove("a") || f.CurrentContext != "b" {
		t.Errorf("the context is %q, want b", f.CurrentContext)
	}
	if !f.Remove("b") || f.CurrentContext != "" {
		t.Errorf("the context is %q, want none", f.CurrentContext)
	}
}
