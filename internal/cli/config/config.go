// Package config is the file that remembers servers, users and contexts between
// calls (spec/cli.md §1.1). Scripts and people share it with other programs that
// know the format, so names and file mode are fixed.
package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"sigs.k8s.io/yaml"
)

// File is the content of the configuration file.
type File struct {
	CurrentContext string       `json:"current-context"`
	Contexts       []ContextRef `json:"contexts"`
	Servers        []Server     `json:"servers"`
	Users          []User       `json:"users"`
	PromptsEnabled bool         `json:"prompts-enabled"`
}

// ContextRef joins a server and a user under a name.
type ContextRef struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	User   string `json:"user"`
}

// Server is how a server is reached; certificates are base64 PEM in the file.
type Server struct {
	Server                   string `json:"server"`
	Insecure                 bool   `json:"insecure,omitempty"`
	GRPCWeb                  bool   `json:"grpc-web,omitempty"`
	GRPCWebRootPath          string `json:"grpc-web-root-path"`
	CertificateAuthorityData []byte `json:"certificate-authority-data,omitempty"`
	ClientCertificateData    []byte `json:"client-certificate-data,omitempty"`
	ClientCertificateKeyData []byte `json:"client-certificate-key-data,omitempty"`
	PlainText                bool   `json:"plain-text,omitempty"`
	Core                     bool   `json:"core,omitempty"`
}

// User holds the tokens of a context.
type User struct {
	Name         string `json:"name"`
	AuthToken    string `json:"auth-token,omitempty"`
	RefreshToken string `json:"refresh-token,omitempty"`
}

// Context is a context with what it refers to.
type Context struct {
	Name   string
	Server Server
	User   User
}

// Path finds the file: explicit is --config. Getenv and home are those of the
// process.
func Path(explicit string, getenv func(string) string, home func() (string, error)) (string, error) {
	if explicit != "" {
		return explicit, nil
	}
	if dir := getenv("ARGOCD_CONFIG_DIR"); dir != "" {
		return filepath.Join(dir, "config"), nil
	}
	dir, err := home()
	if err != nil {
		return "", fmt.Errorf("find the home folder: %w; set ARGOCD_CONFIG_DIR or --config", err)
	}
	if info, err := os.Stat(filepath.Join(dir, ".argocd")); err == nil && info.IsDir() {
		return filepath.Join(dir, ".argocd", "config"), nil
	}
	if xdg := getenv("XDG_CONFIG_HOME"); xdg != "" {
		return filepath.Join(xdg, "argocd", "config"), nil
	}
	return filepath.Join(dir, ".config", "argocd", "config"), nil
}

// Read reads the file; nil when there is none.
func Read(path string) (*File, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no file is no error (spec/cli.md §1.1)
	}
	if err != nil {
		return nil, fmt.Errorf("local config: %w", err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 && mode != 0o400 {
		return nil, fmt.Errorf("config file has incorrect permission flags: %s, change the file permission either to 0400 or 0600: chmod 600 %s", mode, path)
	}
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("local config: %w", err)
	}
	var f File
	if err := yaml.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("local config invalid: %s: %w", path, err)
	}
	if f.CurrentContext != "" {
		if _, err := f.Resolve(f.CurrentContext); err != nil {
			return nil, fmt.Errorf("local config invalid: %w", err)
		}
	}
	return &f, nil
}

// Update changes the file, while no other command does: each sees what the one
// before has written. The change gets an empty File when there is none, and what
// it leaves is written, whole or not at all; nothing at all is left removes the
// file. The context in use before is remembered when another takes its place
// ([Previous]). A *LockError says that change was not called.
func Update(ctx context.Context, path string, change func(f *File) error) error {
	release, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	f, err := Read(path)
	if err != nil {
		return err
	}
	if f == nil {
		f = &File{}
	}
	current := f.CurrentContext
	before, err := yaml.Marshal(f)
	if err != nil {
		return fmt.Errorf("local config: %w", err)
	}
	if err := change(f); err != nil {
		return err
	}
	after, err := yaml.Marshal(f)
	switch {
	case err != nil:
		return fmt.Errorf("local config: %w", err)
	case bytes.Equal(before, after):
		return nil
	case f.Empty() && !f.PromptsEnabled:
		return remove(path)
	}
	if err := replace(path, after); err != nil {
		return err
	}
	kept := slices.ContainsFunc(f.Contexts, func(c ContextRef) bool { return c.Name == current })
	if current != "" && current != f.CurrentContext && kept {
		return replace(previous(path), []byte(current))
	}
	return nil
}

func replace(path string, raw []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("local config: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".config-*") // mode 0600
	if err != nil {
		return fmt.Errorf("local config: %w", err)
	}
	_, err = tmp.Write(raw)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the first error counts
		return fmt.Errorf("local config: %w", err)
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("local config: %w", err)
	}
	return nil
}

// Resolve finds a context; "" is the current one.
func (f *File) Resolve(name string) (*Context, error) {
	name = cmp.Or(name, f.CurrentContext)
	if name == "" {
		return nil, errors.New("local config: current-context unset")
	}
	i := slices.IndexFunc(f.Contexts, func(c ContextRef) bool { return c.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("Context '%s' undefined", name)
	}
	ref := f.Contexts[i]
	s := slices.IndexFunc(f.Servers, func(s Server) bool { return s.Server == ref.Server })
	if s < 0 {
		return nil, fmt.Errorf("Server '%s' undefined", ref.Server)
	}
	u := slices.IndexFunc(f.Users, func(u User) bool { return u.Name == ref.User })
	if u < 0 {
		return nil, fmt.Errorf("User '%s' undefined", ref.User)
	}
	return &Context{Name: name, Server: f.Servers[s], User: f.Users[u]}, nil
}

// Put adds or replaces a context with its server and user.
func (f *File) Put(c Context) {
	put(&f.Contexts, ContextRef{c.Name, c.Server.Server, c.User.Name}, func(r ContextRef) bool { return r.Name == c.Name })
	put(&f.Servers, c.Server, func(s Server) bool { return s.Server == c.Server.Server })
	f.PutUser(c.User)
}

// PutUser adds or replaces a user.
func (f *File) PutUser(u User) {
	put(&f.Users, u, func(v User) bool { return v.Name == u.Name })
}

func put[T any](all *[]T, one T, same func(T) bool) {
	if i := slices.IndexFunc(*all, same); i >= 0 {
		(*all)[i] = one
		return
	}
	*all = append(*all, one)
}

// Remove removes a context, and its server and user when no other context
// uses them. False says that there is none.
func (f *File) Remove(name string) bool {
	i := slices.IndexFunc(f.Contexts, func(c ContextRef) bool { return c.Name == name })
	if i < 0 {
		return false
	}
	ref := f.Contexts[i]
	f.Contexts = slices.Delete(f.Contexts, i, i+1)
	if !slices.ContainsFunc(f.Contexts, func(c ContextRef) bool { return c.User == ref.User }) {
		f.Users = slices.DeleteFunc(f.Users, func(u User) bool { return u.Name == ref.User })
	}
	if !slices.ContainsFunc(f.Contexts, func(c ContextRef) bool { return c.Server == ref.Server }) {
		f.Servers = slices.DeleteFunc(f.Servers, func(s Server) bool { return s.Server == ref.Server })
	}
	if f.CurrentContext == name {
		f.CurrentContext = ""
		sound := slices.IndexFunc(f.Contexts, func(c ContextRef) bool { // another one would make the whole file invalid
			_, err := f.Resolve(c.Name)
			return err == nil
		})
		if sound >= 0 {
			f.CurrentContext = f.Contexts[sound].Name
		}
	}
	return true
}

// Empty says that nothing is left to remember.
func (f *File) Empty() bool { return len(f.Contexts) == 0 }

// previous is the file that remembers the context before.
func previous(path string) string { return filepath.Join(filepath.Dir(path), ".prev-ctx") }

// Previous is the name of the context before, "" when unknown.
func Previous(path string) string {
	raw, err := os.ReadFile(previous(path))
	if err != nil {
		return ""
	}
	return string(raw)
}
