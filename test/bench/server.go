package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// Sizes of the part "server.*".
const (
	serverApps     = 10_000
	serverPages    = 500
	serverWatchers = 500
	serverChanges  = 200
)

// listFields are what a page of Applications asks for.
const listFields = "items.metadata.name,items.metadata.namespace,items.metadata.labels,items.metadata.creationTimestamp,items.spec.destination,items.spec.project," +
	"items.spec.source,items.status.sync.status,items.status.sync.revision,items.status.health,items.status.summary,items.status.operationState.phase,items.status.operationState.finishedAt"

// serving is a run of the part.
type serving struct {
	*rig.Rig
	process *exec.Cmd
	url     string
	token   string
	http    *http.Client
	// profiles are those of the server.
	profiles profiler
}

// measureServer asks a server with ten thousand Applications, as an account
// with a token and a role.
func measureServer(ctx context.Context, how size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-server-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Stop(context.WithoutCancel(ctx))) }()
	s := &serving{Rig: r, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: serverWatchers + 10, DisableCompression: true}}}
	if s.profiles.folder = how.profiles; how.profiles != "" {
		if s.profiles.address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "creating %d Applications ...\n", serverApps)
	if err := s.fill(ctx); err != nil {
		return nil, err
	}
	if err := s.start(ctx, filepath.Dir(self), dir); err != nil {
		return nil, err
	}
	defer s.stop()
	memory := watchUsage(ctx, s.process.Process.Pid, "")
	defer func() { figures = append(figures, figure("server.peak_mib", "MiB", memory.stop(), 500)) }()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	all, err := s.listAll(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.listPages(ctx)
	if err != nil {
		return nil, err
	}
	table, err := s.appList(ctx, filepath.Dir(self), dir)
	if err != nil {
		return nil, err
	}
	fan, err := s.fanOut(ctx)
	figures = []Figure{figure("cli.app_list_s", "s", table.Seconds(), 2), figure("server.list_all_s", "s", all.Seconds(), 1)}
	return append(append(figures, page...), fan...), err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fill puts Applications on the hub as they are in use: with resources, history
// and the last operation.
func (s *serving) fill(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range serverApps {
		group.Go(func() error { return s.Hub.Create(gctx, serverApp(i)) })
	}
	return group.Wait()
}

func serverApp(i int) *v1alpha1.Application {
	revision := fmt.Sprintf("%040x", i)
	src := v1alpha1.ApplicationSource{RepoURL: fmt.Sprintf("https://git.example/team-%d/config", i%50), Path: fmt.Sprintf("apps/a-%d/overlays/prod", i), TargetRevision: "main"}
	now := metav1.NewTime(time.Unix(1_780_000_000, 0))
	app := &v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{
		Project: "default", Source: &src,
		Destination: v1alpha1.ApplicationDestination{Server: fmt.Sprintf("https://cluster-%d.example:6443", i%40), Namespace: fmt.Sprintf("team-%d", i%50)},
		SyncPolicy:  &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{Prune: true, SelfHeal: true}, SyncOptions: []string{"CreateNamespace=true"}},
	}}
	app.Name, app.Namespace = fmt.Sprintf("app-%05d", i), rig.Namespace
	app.Labels = map[string]string{"team": fmt.Sprint("team-", i%50), "tier": []string{"web", "db", "job"}[i%3]}
	app.Status.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusSynced, Revision: revision, ComparedTo: v1alpha1.ComparedTo{Source: src, Destination: app.Spec.Destination}}
	app.Status.Health.Status = []v1alpha1.HealthStatusCode{v1alpha1.HealthHealthy, v1alpha1.HealthDegraded}[i%2]
	app.Status.Summary.Images = []string{"registry.example/team/app:v1.2.3"}
	result := &v1alpha1.SyncOperationResult{Revision: revision, Source: src}
	for j, kind := range []string{"Deployment", "Service", "ConfigMap", "Ingress", "ServiceAccount", "Role", "RoleBinding", "HorizontalPodAutoscaler"} {
		r := v1alpha1.ResourceStatus{Version: "v1", Kind: kind, Namespace: app.Spec.Destination.Namespace, Name: fmt.Sprintf("%s-%d", app.Name, j), Status: v1alpha1.SyncStatusSynced}
		app.Status.Resources = append(app.Status.Resources, r)
		result.Resources = append(result.Resources, &v1alpha1.ResourceResult{Version: "v1", Kind: kind, Namespace: r.Namespace, Name: r.Name, Status: v1alpha1.ResultSynced, Message: kind + " serverside-applied", SyncPhase: "Sync"})
	}
	app.Status.OperationState = &v1alpha1.OperationState{
		Operation: v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: revision}}, Phase: v1alpha1.OperationSucceeded, StartedAt: now, FinishedAt: &now,
		Message: "successfully synced (all tasks run)", SyncResult: result,
	}
	for h := range 5 {
		app.Status.History = append(app.Status.History, v1alpha1.RevisionHistory{ID: int64(h), Revision: revision, DeployedAt: now, Source: src})
	}
	return app
}

func (s *serving) start(ctx context.Context, bin, dir string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.url = "http://" + address
	args := []string{
		"server", "--kubeconfig", s.HubPart.Kubeconfig, "--insecure", "--address", "127.0.0.1", "--port", port, "--metrics-port", "0", "--data-dir", filepath.Join(dir, "server"),
	}
	if s.profiles.address != "" {
		args = append(args, "--pprof-addr", s.profiles.address)
	}
	s.process = exec.CommandContext(ctx, filepath.Join(bin, "sluice"), args...)
	s.process.Stderr = log
	return s.process.Start()
}

func (s *serving) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
}

// ready waits for the server, and logs in as the administrator of its first
// start.
func (s *serving) ready(ctx context.Context) error {
	err := rig.Until(ctx, 2*time.Minute, "the server is ready", func(ctx context.Context) (bool, error) {
		resp, err := s.get(ctx, "/healthz")
		if err != nil {
			return false, nil
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	if err != nil {
		return err
	}
	var secret corev1.Secret
	if err := s.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: "argocd-initial-admin-secret"}, &secret); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"username": "admin", "password": string(secret.Data["password"])})
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/session", bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		return fmt.Errorf("log in: %s: %w", resp.Status, err)
	}
	s.token = answer.Token
	return nil
}

func (s *serving) get(ctx context.Context, path string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return nil, err
	}
	if s.token != "" {
		q.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.http.Do(q)
}

// timed reads a whole answer and says how long that took.
func (s *serving) timed(ctx context.Context, path string) (time.Duration, []byte, error) {
	begin := time.Now()
	resp, err := s.get(ctx, path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, raw)
	}
	return time.Since(begin), raw, err
}

// listAll asks for all Applications, with the fields of a page; the slowest of
// five counts.
func (s *serving) listAll(ctx context.Context) (worst time.Duration, err error) {
	for range 5 {
		took, raw, err := s.timed(ctx, "/api/v1/applications?fields="+listFields)
		if err != nil {
			return 0, err
		}
		if n := strings.Count(string(raw), `"name":"app-`); n != serverApps {
			return 0, fmt.Errorf("the list has %d Applications, want %d", n, serverApps)
		}
		worst = max(worst, took)
	}
	return worst, nil
}

// listPages turns pages, in several orders and with searches.
func (s *serving) listPages(ctx context.Context) ([]Figure, error) {
	random := rand.New(rand.NewPCG(1, 2))
	defer s.profiles.begin(ctx, "pages.pprof", "/debug/pprof/profile?seconds=4")()
	cpu := processorSeconds(s.process.Process.Pid)
	var all []time.Duration
	for i := range serverPages {
		query := fmt.Sprintf("limit=50&offset=%d&sort=%s", random.IntN(serverApps/2), []string{"name", "-name", "health", "project", "-created"}[i%5])
		if i%4 == 0 {
			query = fmt.Sprintf("limit=50&search=team-%d", i%50)
		}
		took, raw, err := s.timed(ctx, "/api/v1/applications?"+query+"&fields="+listFields)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(raw, []byte(`"name":"app-`)) {
			return nil, fmt.Errorf("page %s is empty", query)
		}
		all = append(all, took)
	}
	cpu = processorSeconds(s.process.Process.Pid) - cpu
	return []Figure{
		figure("server.list_page_p99_ms", "ms", ms(worstOf(all, 99)), 50), figure("server.list_page_p50_ms", "ms", ms(worstOf(all, 50)), 0),
		figure("server.list_page_cpu_ms", "ms", cpu*1000/serverPages, 0),
	}, nil
}

// worstOf is a percentile of times.
func worstOf(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[min(len(all)-1, len(all)*p/100)]
}
