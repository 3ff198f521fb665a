package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// sidecar runs a plugin in this process and waits for its socket.
func sidecar(t *testing.T, dir, config string) {
	t.Helper()
	configs, work := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(configs, "plugin.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(configs)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Config: c, SocketDir: dir, WorkDir: filepath.Join(work, "_cmp_server"), Version: "v1.2.3", Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(s.WorkDir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the work folder: %v, %v", left, err)
		}
	})
	deadline, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	for {
		if conn, err := (&net.Dialer{}).DialContext(deadline, "unix", filepath.Join(dir, c.Name()+".sock")); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-deadline.Done():
			t.Fatal("the plugin did not start")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func request(t *testing.T, files map[string]string) Request {
	t.Helper()
	b := tree.NewBuilder()
	for name, content := range files {
		if err := b.Add(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	return Request{Tree: b.Build("r"), Path: "app"}
}

const header = "apiVersion: argoproj.io/v1alpha1\nkind: ConfigManagementPlugin\n"

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	sidecar(t, dir, header+`
metadata: {name: shell}
spec:
  version: v1.0
  init: {command: [sh, -c, "echo made > made.txt; echo not-output"]}
  generate:
    command: [sh, -c]
    args:
    - |
      echo "to stderr" >&2
      printf 'kind: A\nwho: %s\nmade: %s\nup: %s\n---\n# nothing\n---\n{"kind": "B"}\n' "$WHO" "$(cat made.txt)" "$(cat ../shared.txt)"
  parameters:
    static: [{name: replicas, title: Replicas, required: true, itemType: number, collectionType: map, map: {a: b}, array: [x], string: s, tooltip: t}]
    dynamic: {command: [sh, -c, 'echo "[{\"name\": \"found-$(ls | tr -d \"\n\")\"}]"']}
`)
	c := NewClient(Options{Dir: dir, ChunkBytes: 7})
	r := request(t, map[string]string{"app/x.txt": "x", "shared.txt": "shared"})
	r.Env = []EnvVar{{"WHO", "first"}, {"WHO", "last"}, {"", "dropped"}}
	name, err := c.Find(t.Context(), "shell-v1.0", r)
	if err != nil || name != "shell-v1.0" {
		t.Fatalf("%q, %v", name, err)
	}
	got, err := c.Generate(t.Context(), name, r)
	want := []string{`{"kind":"A","made":"made","up":"shared","who":"last"}`, `{"kind":"B"}`}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	parameters, err := c.Parameters(t.Context(), name, r)
	wantParameters := []Parameter{{Name: "found-x.txt"}, {
		Name: "replicas", Title: "Replicas", Tooltip: "t", Required: true, ItemType: "number", CollectionType: "map", String: "s", Array: []string{"x"}, Map: map[string]string{"a": "b"},
	}}
	if diff := cmp.Diff(wantParameters, parameters); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := c.Find(t.Context(), "", r); err == nil || !strings.Contains(err.Error(), "could not find plugin supporting the given repository") {
		t.Errorf("a plugin without discovery was found: %v", err)
	}
}

func TestDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		discover string
		files    map[string]string
		want     string // plugin found, or the error
	}{
		"file name":       {"{fileName: '*.foo'}", map[string]string{"app/a.foo": ""}, "p"},
		"no file name":    {"{fileName: '*.foo'}", map[string]string{"app/sub/a.foo": ""}, "could not find"},
		"glob":            {"{find: {glob: '**/a.foo'}}", map[string]string{"app/b/c/a.foo": ""}, "p"},
		"glob at the top": {"{find: {glob: '**/a.foo'}}", map[string]string{"app/a.foo": ""}, "p"},
		"no glob":         {"{find: {glob: '*/a.foo'}}", map[string]string{"app/b/c/a.foo": ""}, "could not find"},
		"command":         {"{find: {command: [ls], args: [a.foo]}}", map[string]string{"app/a.foo": ""}, "p"},
		"command says no": {"{find: {command: ['true']}}", map[string]string{"app/a.foo": ""}, "could not find"},
		"command fails":   {"{find: {command: [sh, -c, 'echo why >&2; exit 3']}}", map[string]string{"app/a.foo": ""}, "failed exit status 3: why"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sidecar(t, dir, header+"metadata: {name: p}\nspec: {generate: {command: ['true']}, discover: "+c.discover+"}\n")
			client, r := NewClient(Options{Dir: dir}), request(t, c.files)
			got, err := client.Find(t.Context(), "", r)
			if got != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			if named, err := client.Find(t.Context(), "p", r); (c.want == "p") != (err == nil) {
				t.Errorf("by name: %q, %v", named, err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	for name, command := range map[string]string{
		"fails": "[sh, -c, 'echo because >&2; exit 7']", "hangs": "[sh, -c, 'sleep 1000 & sleep 1000']", "missing": "[/no/such/program]", "garbage": "[echo, 'a: [']", "silent": "['true']",
	} {
		sidecar(t, dir, fmt.Sprintf(header+"metadata: {name: %s}\nspec: {generate: {command: %s}}\n", name, command))
	}
	c := NewClient(Options{Dir: dir})
	r := request(t, map[string]string{"app/a": ""})
	for name, want := range map[string]string{
		"fails":   "rpc error: code = Unknown desc = error generating manifests: `sh -c echo because >&2; exit 7` failed exit status 7: because",
		"missing": "no such file", "garbage": "neither YAML nor JSON", "gone": `no plugin "gone" is connected`, "../x": "not the name of a plugin", "a/b": "not the name",
	} {
		if _, err := c.Generate(t.Context(), name, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
	}
	if got, err := c.Generate(t.Context(), "silent", r); err != nil || len(got) != 0 {
		t.Errorf("silent: %v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Generate(ctx, "hangs", r); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("hangs: error %v, want the deadline", err)
	}
	excluding := NewClient(Options{Dir: dir, Exclude: func() []string { return []string{"*"} }})
	if _, err := excluding.Generate(t.Context(), "silent", r); err == nil || !strings.Contains(err.Error(), "no files to send") {
		t.Errorf("error %v, want that nothing is left", err)
	}
	outside := r
	outside.Path = "../etc"
	if _, err := c.Generate(t.Context(), "silent", outside); err == nil || !strings.Contains(err.Error(), "out of workDir bound") {
		t.Errorf("error %v, want the bound", err)
	}
}

// TestWire compares with bytes written by hand from the table of the protocol.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		m    message
		want string
	}{
		{&chunk{metadata: &metadata{appName: "a", appPath: "p", checksum: "c", size: 300, env: []EnvVar{{"k", "v"}}}}, "0a" + "14" + "0a0161" + "120170" + "1a0163" + "20ac02" + "2a06" + "0a016b" + "120176"},
		{&chunk{file: []byte("xy"), isFile: true}, "1204" + "0a027879"},
		{&flags{true, false}, "0801"}, {&flags{false, true}, "1001"}, {&flags{}, ""},
		{&manifests{[]string{"{}", "x"}}, "0a027b7d" + "0a0178"},
		{&announcement{[]Parameter{{Name: "n", Required: true, Map: map[string]string{"k": "v"}}}}, "0a0d" + "0a016e" + "2001" + "4a06" + "0a016b" + "120176"},
	} {
		if got := hex.EncodeToString(c.m.marshal()); got != c.want {
			t.Errorf("%T: %s, want %s", c.m, got, c.want)
		}
	}
}

// TestHostileArchives: a peer of the sidecar cannot write beside its folder.
func TestHostileArchives(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "canary")
	for name, h := range map[string]*tar.Header{
		"parent":        {Name: "../canary", Typeflag: tar.TypeReg},
		"absolute":      {Name: outside, Typeflag: tar.TypeReg},
		"link away":     {Name: "l", Linkname: "../..", Typeflag: tar.TypeSymlink},
		"absolute link": {Name: "l", Linkname: "/etc", Typeflag: tar.TypeSymlink},
	} {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		w := tar.NewWriter(z)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "root")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unpack(&out, dir, false); err == nil || !strings.Contains(err.Error(), "illegal filepath") {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "..", "canary")); err == nil {
			t.Errorf("%s: wrote beside the folder", name)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"kind: X": "want ConfigManagementPlugin", header + "metadata: {}": "metadata.name", header + "metadata: {name: a}": "spec.generate.command",
		header + "metadata: {name: a/b}\nspec: {generate: {command: [x]}}": "not a file name", header + "spec: {version: 1.0}": "cannot unmarshal", ": [": "plugin.yaml",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadConfig(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", content, err, want)
		}
	}
}
