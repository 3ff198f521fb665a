package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/test/rendercase"
)

// TestMain lets this binary be the child, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == worker.Command {
		limit, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			err = worker.Serve(context.Background(), os.Stdin, os.Stdout, limit)
		}
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == "faulty" {
		limit, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			err = worker.Serve(context.Background(), faulty{os.Stdin}, os.Stdout, limit)
		}
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == "probe" {
		os.Exit(probe(os.Args[2]))
	}
	os.Exit(m.Run())
}

func pool(t testing.TB, o worker.Options) *worker.Pool {
	t.Helper()
	o.Registerer = prometheus.NewRegistry()
	p, err := worker.NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestChildrenRenderAsTheLibraryDoes renders every golden case in both ways.
func TestChildrenRenderAsTheLibraryDoes(t *testing.T) {
	p := pool(t, worker.Options{Workers: 2, MaxRenders: 20})
	files, err := filepath.Glob("../testdata/*.txtar")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	var wait sync.WaitGroup
	for _, file := range files {
		_, request, err := rendercase.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			want, wantErr := render.Render(t.Context(), request)
			got, gotErr := p.Render(t.Context(), request)
			if strings.Contains(file, "kustomize-openapi") {
				return // a child may read such a kustomization, see below
			}
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("%s: error %v, want %v", file, gotErr, wantErr)
				return
			}
			if wantErr != nil {
				return
			}
			objects, err := worker.Encode(want.Objects)
			if err != nil || !bytes.Equal(objects, got.Objects) || got.Type != want.Type || got.Used != want.Used {
				t.Errorf("%s: got %s %b\n%s\nwant %s %b\n%s (%v)", file, got.Type, got.Used, got.Objects, want.Type, want.Used, objects, err)
			}
		})
	}
	wait.Wait()
}

func chart(template string) render.Request {
	return render.Request{
		App: render.App{Name: "a", Instance: "a", Project: "p"}, Source: v1alpha1.ApplicationSource{Path: "c"}, Revision: "r", KubeVersion: "1.36.0",
		Tree: rendercase.Files{"c/Chart.yaml": "{apiVersion: v2, name: c, version: 1.0.0}", "c/templates/a.yaml": template},
	}
}

const healthy = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

// endless takes hours and no memory.
const endless = `{{ range until 30000 }}{{ range until 30000 }}{{ range until 30000 }}{{ end }}{{ end }}{{ end }}`

// TestABadRenderFailsAlone: a render that hangs or eats memory has its own
// message, while others at the same time and after it succeed.
func TestABadRenderFailsAlone(t *testing.T) {
	for name, c := range map[string]struct {
		template, message string
		timeout           time.Duration
	}{
		"hangs":       {endless, "c: rendering did not end within 10s: make the source simpler, or raise --render-timeout", 10 * time.Second},
		"eats memory": {`{{ repeat 2000000000 "x" }}`, "c: rendering needed more than 256 MiB of memory: make the source smaller, or raise --render-memory", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, worker.Options{Workers: 2, Memory: 256 << 20, Timeout: c.timeout})
			var wait sync.WaitGroup
			wait.Go(func() {
				_, err := p.Render(t.Context(), chart(c.template))
				if err == nil || err.Error() != c.message {
					t.Errorf("error %v, want %s", err, c.message)
				}
				if name == "hangs" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v is not one of time", err)
				}
			})
			for range 10 {
				if _, err := p.Render(t.Context(), chart(healthy)); err != nil {
					t.Errorf("another render: %v", err)
				}
			}
			wait.Wait()
			if _, err := p.Render(t.Context(), chart(healthy)); err != nil {
				t.Errorf("the next render: %v", err)
			}
		})
	}
}

// faulty is the input of a child that panics, beyond what a render could
// recover from, when it is asked for what has the bad word in it.
type faulty struct{ in *os.File }

const badWord = "blows-up"

func (f faulty) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if bytes.Contains(p[:n], []byte(badWord)) {
		panic("the library has a bug")
	}
	return n, err
}

// TestAPanicFailsAlone: a child that panics is explained and replaced, while
// others go on.
func TestAPanicFailsAlone(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := pool(t, worker.Options{Workers: 2, Command: []string{self, "faulty"}})
	bad := chart(healthy)
	bad.App.Name = badWord
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			r := chart(healthy)
			if i%4 > 0 {
				if _, err := p.Render(t.Context(), r); err != nil {
					t.Errorf("another render: %v", err)
				}
				return
			}
			const message = "c: rendering failed unexpectedly: panic: the library has a bug"
			if _, err := p.Render(t.Context(), bad); err == nil || err.Error() != message {
				t.Errorf("error %v, want %s", err, message)
			}
		})
	}
	wait.Wait()
}

// broken is a tree whose reads fail.
type broken struct{ rendercase.Files }

func (broken) ReadFile(string) ([]byte, error) { return nil, errors.New("the disk is gone") }

func TestErrorsOfTheTreeReachTheUser(t *testing.T) {
	p := pool(t, worker.Options{Workers: 1})
	r := chart(healthy)
	r.Tree = broken{r.Tree.(rendercase.Files)}
	if _, err := p.Render(t.Context(), r); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("error %v, want the reason", err)
	}
}

// killing is a tree whose reader is killed while it reads.
type killing struct {
	rendercase.Files
	once *sync.Once
}

func (k killing) Stat(name string) (tree.Entry, error) {
	k.once.Do(func() {
		for _, child := range children() {
			_ = syscall.Kill(child, syscall.SIGKILL)
		}
	})
	return k.Files.Stat(name)
}

// children are the processes that this test process has started.
func children() (out []int) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		more, _ := os.ReadFile(task)
		raw = append(append(raw, ' '), more...)
	}
	for _, word := range strings.Fields(string(raw)) {
		if pid, err := strconv.Atoi(word); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

func TestAKilledChildIsReplaced(t *testing.T) {
	p := pool(t, worker.Options{Workers: 1})
	r := chart(healthy)
	r.Source.Helm = &v1alpha1.SourceHelm{}
	r.Tree = killing{r.Tree.(rendercase.Files), &sync.Once{}}
	if _, err := p.Render(t.Context(), r); err == nil || !strings.Contains(err.Error(), "c: the renderer was ended from outside") {
		t.Errorf("error %v, want that the child was killed", err)
	}
	if _, err := p.Render(t.Context(), r); err != nil {
		t.Errorf("the next render: %v", err)
	}
}

// TestASchemaOfItsOwnEndsWithItsBuild: the openapi field changes how all
// later builds of a process merge, so the process is not used again.
func TestASchemaOfItsOwnEndsWithItsBuild(t *testing.T) {
	p := pool(t, worker.Options{Workers: 1})
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: a, image: a}, {name: b, image: b}]}}}\n"
	patch := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: a, image: new}]}}}\n"
	files := rendercase.Files{
		"plain/kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n", "plain/d.yaml": deployment, "plain/p.yaml": patch,
		"odd/kustomization.yaml": "resources: [d.yaml]\nopenapi: {path: schema.json}\n", "odd/d.yaml": deployment,
		"odd/schema.json": `{"definitions": {"io.k8s.api.apps.v1.Deployment": {"type": "object", "properties": {"spec": {"type": "object"}}, "x-kubernetes-group-version-kind": [{"group": "apps", "kind": "Deployment", "version": "v1"}]}}}`,
	}
	request := func(dir string) render.Request {
		return render.Request{App: render.App{Name: "a"}, Tree: files, Source: v1alpha1.ApplicationSource{Path: dir}}
	}
	want, err := p.Render(t.Context(), request("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Render(t.Context(), request("odd")); err != nil {
		t.Fatal(err)
	}
	got, err := p.Render(t.Context(), request("plain"))
	if err != nil || !bytes.Equal(got.Objects, want.Objects) {
		t.Errorf("after a build with a schema of its own:\n%s (%v)\nwant\n%s", got.Objects, err, want.Objects)
	}
}

// probes are what a hostile renderer would try.
var probes = map[string]func() error{
	"read a file":   func() error { _, err := os.ReadFile("/etc/passwd"); return err },
	"list a folder": func() error { _, err := os.ReadDir("/"); return err },
	"write a file":  func() error { return os.WriteFile(filepath.Join(os.TempDir(), "sluice-probe"), []byte("x"), 0o600) },
	"remove a file": func() error { return os.Remove("/tmp/sluice-probe-target") },
	"rename":        func() error { return os.Rename("/tmp/sluice-probe-target", "/tmp/sluice-probe-moved") },
	"link":          func() error { return os.Symlink("/etc/passwd", "/tmp/sluice-probe-link") },
	"open a socket": func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return notRefused(err) },
	"listen":        func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err },
	"unix socket":   func() error { _, err := net.Dial("unix", "/var/run/docker.sock"); return notRefused(err) },
	"run a program": func() error { return exec.Command("/bin/true").Run() },
	"signal":        func() error { return syscall.Kill(os.Getppid(), 0) },
	"raise a limit": func() error { return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: 100}) },
	"its environment": func() error {
		if len(os.Environ()) > 3 {
			return nil
		}
		return errors.New("holds nothing")
	},
}

// notRefused tells a socket that could not be made from one nobody answers.
func notRefused(err error) error {
	if errors.Is(err, syscall.EPERM) {
		return err
	}
	return nil
}

func probe(memory string) int {
	limit, err := strconv.ParseInt(memory, 10, 64)
	if err == nil {
		err = worker.CloseOff(limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	out := map[string]string{}
	for name, try := range probes {
		if err := try(); err != nil {
			out[name] = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 1
	}
	return 0
}

// TestAChildReachesNothing runs every probe in a process that has closed
// itself off as a worker does.
func TestAChildReachesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/tmp/sluice-probe-target", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove("/tmp/sluice-probe-target")
	cmd := exec.Command(self, "probe", fmt.Sprint(256<<20))
	cmd.Env = []string{"TZ=UTC"}
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	var failed map[string]string
	if err := json.Unmarshal(raw, &failed); err != nil {
		t.Fatal(err)
	}
	for name := range probes {
		if failed[name] == "" {
			t.Errorf("a closed-off process can %s", name)
		}
	}
}

func TestPoolNeedsMemory(t *testing.T) {
	if _, err := worker.NewPool(worker.Options{Memory: 1 << 20}); err == nil || !strings.Contains(err.Error(), "at least 64 MiB") {
		t.Errorf("error %v, want the least that is enough", err)
	}
}

func BenchmarkRender(b *testing.B) {
	p := pool(b, worker.Options{Workers: 1})
	for _, name := range []string{"directory", "kustomize", "helm"} {
		_, request, err := rendercase.Load("../testdata/" + name + ".txtar")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := p.Render(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
