package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	registry "oras.land/oras-go/v2/registry/remote"
	sigs "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/link"
	"github.com/sluice-cd/sluice/internal/server/repository"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/test/rig"
)

// diffs asks the cluster what an apply would change; it changes nothing, tells
// no secret, and takes only what the Application manages.
func (p *process) diffs(t *testing.T) {
	ctx, web := t.Context(), application.Target{Name: "web"}
	managed, err := p.ApplicationManagedResources(ctx, &application.ResourcesQuery{Target: web})
	must(t, err)
	targets := map[string]string{}
	for _, m := range managed.Items {
		targets[m.Kind] = m.TargetState
	}
	ask := func(texts ...string) (*application.DiffResponse, error) {
		return p.ApplicationServerSideDiff(ctx, &application.DiffQuery{AppName: "web", TargetManifests: texts})
	}
	same, err := ask(targets["Deployment"])
	must(t, err)
	if same.Modified || len(same.Items) != 1 {
		t.Errorf("the same Deployment: %+v", same)
	}
	other, err := ask(strings.Replace(targets["Deployment"], `"replicas":1`, `"replicas":3`, 1))
	must(t, err)
	if !other.Modified || !strings.Contains(other.Items[0].PredictedLiveState, `"replicas":3`) || !strings.Contains(other.Items[0].LiveState, `"replicas":1`) {
		t.Errorf("three replicas: %+v", other)
	}
	live, err := p.ApplicationGetResource(ctx, &application.ResourceRequest{Target: web, Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "web", ResourceName: "web"})
	must(t, err)
	if !strings.Contains(live.Manifest, `"replicas":1`) {
		t.Errorf("the question changed the cluster: %s", live.Manifest)
	}
	hidden, err := ask(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"web"},"stringData":{"password":"CANARY-guess"}}`)
	must(t, err)
	raw, err := json.Marshal(hidden)
	must(t, err)
	search(t, "the diff of a Secret", string(raw))
	if !strings.Contains(string(raw), "++++") {
		t.Errorf("the diff of a Secret: %s", raw)
	}
	for _, foreign := range []string{
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"other","namespace":"web"}}`, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"kube-system"}}`, `{}`,
	} {
		if _, err := ask(foreign); !is(err, fault.InvalidArgument) {
			t.Errorf("%s: %v", foreign, err)
		}
	}
}

// links come from argocd-cm, within a second, and lead to http only.
func (p *process) links(t *testing.T) {
	ctx, web := t.Context(), application.Target{Name: "web"}
	var cm corev1.ConfigMap
	must(t, p.Hub.Get(ctx, sigs.ObjectKey{Namespace: namespace, Name: "argocd-cm"}, &cm))
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data["application.links"] = "- title: logs\n  url: https://logs.example/{{.app.metadata.name}}?c={{.cluster.name}}\n- title: evil\n  url: javascript:alert(1)\n- title: never\n  url: https://x.example\n  if: app.metadata.name == 'other'\n"
	cm.Data["resource.links"] = "- title: object\n  url: https://o.example/{{.resource.kind}}\n"
	must(t, p.Hub.Update(ctx, &cm))
	shown := func(items []link.Info) string {
		var out []string
		for _, i := range items {
			out = append(out, i.Title+" "+i.URL)
		}
		return strings.Join(out, ", ")
	}
	var last string
	must(t, rig.Until(ctx, 5*time.Second, "links of the Application", func(ctx context.Context) (bool, error) {
		got, err := p.ApplicationListLinks(ctx, &application.LinksQuery{Target: web})
		if err == nil {
			last = shown(got.Items)
		}
		return last == "logs https://logs.example/web?c=eu-1", err
	}))
	got, err := p.ApplicationListResourceLinks(ctx, &application.ResourceRequest{Target: web, Version: "v1", Kind: "Secret", Namespace: "web", ResourceName: "db"})
	must(t, err)
	if shown(got.Items) != "object https://o.example/Secret" {
		t.Errorf("links of the Secret: %s", shown(got.Items))
	}
}

// packed is a gzipped tar.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, content := range files {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, err := w.Write([]byte(content))
		must(t, err)
	}
	must(t, w.Close())
	must(t, z.Close())
	return out.Bytes()
}

// uploads renders files of the caller.
func (p *process) uploads(t *testing.T) {
	send := func(name, checksum string, archive []byte) (*application.ManifestResponse, error) {
		q := &application.FilesRequest{Messages: route.Lines[application.FilesMessage]{Messages: []application.FilesMessage{{Query: &application.FilesQuery{Name: name, Checksum: checksum}}}}}
		for len(archive) > 0 {
			n := min(len(archive), 100)
			q.Messages.Messages = append(q.Messages.Messages, application.FilesMessage{Chunk: &application.FileChunk{Chunk: archive[:n]}})
			archive = archive[n:]
		}
		return p.ApplicationGetManifestsWithFiles(t.Context(), q)
	}
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	good := packed(t, map[string]string{"web/all.yaml": fmt.Sprintf(manifests, "mine")})
	rendered, err := send("web", sum(good), good)
	must(t, err)
	text := strings.Join(rendered.Manifests, "\n")
	search(t, "uploaded files, rendered", text)
	if len(rendered.Manifests) != 3 || !strings.Contains(text, "x:mine") || rendered.SourceType != "Directory" {
		t.Errorf("uploaded files give %d manifests of a %s: %s", len(rendered.Manifests), rendered.SourceType, text)
	}
	out := packed(t, map[string]string{"../../etc/passwd": "x", "web/all.yaml": "a: b"})
	for what, c := range map[string]struct {
		name, sum string
		archive   []byte
		code      fault.Code
		text      string
	}{
		"a wrong sum":         {"web", sum(out), good, fault.InvalidArgument, "checksum"},
		"no archive":          {"web", sum(nil), nil, fault.InvalidArgument, "uploaded files"},
		"a path that leaves":  {"web", sum(out), out, fault.InvalidArgument, "uploaded files"},
		"no tar":              {"web", sum([]byte("hello")), []byte("hello"), fault.InvalidArgument, "uploaded files"},
		"another Application": {"none", sum(good), good, fault.PermissionDenied, ""},
	} {
		if _, err := send(c.name, c.sum, c.archive); !is(err, c.code) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	empty := packed(t, map[string]string{"elsewhere/all.yaml": "a: b"})
	if _, err := send("web", sum(empty), empty); !is(err, fault.FailedPrecondition) {
		t.Errorf("a folder without the path of the source: %v", err)
	}
}

// rotates replaces the token by which eu-1 is reached, of a real service account.
func (p *process) rotates(t *testing.T) {
	ctx := t.Context()
	var target *rest.Config
	for _, c := range p.Fleet.Clusters() {
		if c.Name == "eu-1" {
			cfg, err := c.Config()
			must(t, err)
			target = cfg
		}
	}
	core, err := kubernetes.NewForConfig(target)
	must(t, err)
	_, err = core.CoreV1().ServiceAccounts("kube-system").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sluice-manager"}}, metav1.CreateOptions{})
	must(t, err)
	_, err = core.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "sluice-manager"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "sluice-manager", Namespace: "kube-system"}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = core.CoreV1().Secrets("kube-system").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "first", Annotations: map[string]string{corev1.ServiceAccountNameKey: "sluice-manager"}}, Type: corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{})
	must(t, err)
	first := ""
	must(t, rig.Until(ctx, 30*time.Second, "the first token", func(ctx context.Context) (bool, error) {
		s, err := core.CoreV1().Secrets("kube-system").Get(ctx, "first", metav1.GetOptions{})
		if err == nil {
			first = string(s.Data[corev1.ServiceAccountTokenKey])
		}
		return first != "", err
	}))
	if _, err := p.ClusterRotateAuth(ctx, &cluster.Query{ID: target.Host}); !is(err, fault.FailedPrecondition) || !strings.Contains(err.Error(), "bearer token") {
		t.Errorf("a cluster that has no token: %v", err)
	}
	var declared corev1.Secret
	key := sigs.ObjectKey{Namespace: namespace, Name: "eu-1"}
	must(t, p.Hub.Get(ctx, key, &declared))
	config, err := json.Marshal(map[string]any{"bearerToken": first, "tlsClientConfig": map[string]any{"caData": target.CAData}})
	must(t, err)
	declared.Data["config"] = config
	must(t, p.Hub.Update(ctx, &declared))
	must(t, rig.Until(ctx, 30*time.Second, "the token was rotated", func(ctx context.Context) (bool, error) {
		_, err := p.ClusterRotateAuth(ctx, &cluster.Query{ID: target.Host}) // the server may not have seen the new Secret yet
		return err == nil, err
	}))
	must(t, p.Hub.Get(ctx, key, &declared))
	var now struct {
		BearerToken     string         `json:"bearerToken"`
		TLSClientConfig map[string]any `json:"tlsClientConfig"`
	}
	must(t, json.Unmarshal(declared.Data["config"], &now))
	if now.BearerToken == "" || now.BearerToken == first || now.TLSClientConfig["caData"] == nil {
		t.Error("the Secret of the cluster has no new token, or lost its authority")
	}
	if _, err := core.CoreV1().Secrets("kube-system").Get(ctx, "first", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the old token is still there: %v", err)
	}
	with := func(token string) error {
		c, err := kubernetes.NewForConfig(&rest.Config{Host: target.Host, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: target.CAData}})
		must(t, err)
		_, err = c.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	must(t, with(now.BearerToken))
	must(t, rig.Until(ctx, 30*time.Second, "the old token is refused", func(context.Context) (bool, error) { return apierrors.IsUnauthorized(with(first)), nil }))
	must(t, rig.Until(ctx, 30*time.Second, "the cluster is reached with it", func(ctx context.Context) (bool, error) {
		clusters, err := p.ClusterList(ctx, &cluster.Query{Name: "eu-1"})
		return err == nil && len(clusters.Items) == 1 && clusters.Items[0].Info.ConnectionState.Status == "Successful", err
	}))
}

// charts looks into a Helm repository and a registry.
func (p *process) charts(t *testing.T) {
	ctx := t.Context()
	chart := packed(t, map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.0\n", "web/values.yaml": "image: {tag: v1}\nports: [80]\n", "web/values-prod.yaml": "a: b\n",
		"web/templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
	})
	helm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != "reader" || password != "CANARY-given":
			http.Error(w, "who are you", http.StatusUnauthorized)
		case r.URL.Path == "/index.yaml":
			_, _ = fmt.Fprint(w, "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.2.0, urls: [web-1.2.0.tgz]}\n  - {name: web, version: 1.1.0, urls: [web-1.1.0.tgz]}\n  db:\n  - {name: db, version: 0.1.0, urls: [db.tgz]}\n")
		case r.URL.Path == "/web-1.2.0.tgz":
			_, _ = w.Write(chart)
		default:
			http.NotFound(w, r)
		}
	}))
	defer helm.Close()
	create := func(g repository.Given) {
		t.Helper()
		_, err := p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: g})
		must(t, err)
	}
	wrong := repository.Given{Repo: helm.URL, Type: "helm", Username: "reader", Password: "no"}
	if _, err := p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: wrong}); !is(err, fault.InvalidArgument) {
		t.Errorf("a wrong password: %v", err)
	}
	create(repository.Given{Repo: helm.URL, Type: "helm", Username: "reader", Password: "CANARY-given"})
	must(t, rig.Until(ctx, 5*time.Second, "the charts of a repository", func(ctx context.Context) (bool, error) { // settings count within a second
		found, err := p.RepositoryGetHelmCharts(ctx, &repository.Query{Repo: helm.URL})
		raw, _ := json.Marshal(found)
		return err == nil && string(raw) == `{"items":[{"name":"db","versions":["0.1.0"]},{"name":"web","versions":["1.2.0","1.1.0"]}]}`, err
	}))
	source := v1alpha1.ApplicationSource{RepoURL: helm.URL, Chart: "web", TargetRevision: "^1"}
	details, err := p.RepositoryGetAppDetails(ctx, &repository.DetailsRequest{URL: helm.URL, Source: source, AppName: "new", AppProject: "default"})
	must(t, err)
	if h := details.Helm; details.Type != "Helm" || h.Name != "web" || strings.Join(h.ValueFiles, " ") != "values-prod.yaml values.yaml" || len(h.Parameters) != 2 || h.Parameters[0] != (v1alpha1.HelmParameter{Name: "image.tag", Value: "v1"}) {
		t.Errorf("details: %+v", details.Helm)
	}
	source.TargetRevision = ">=9"
	if _, err := p.RepositoryGetAppDetails(ctx, &repository.DetailsRequest{URL: helm.URL, Source: source, AppName: "new", AppProject: "default"}); !is(err, fault.FailedPrecondition) || !strings.Contains(err.Error(), "chart web") {
		t.Errorf("a version that is not there: %v", err)
	}
	host := startRegistry(t)
	push(t, host, "charts/web", "1.2.0", chart)
	push(t, host, "charts/web", "1.3.0", chart)
	create(repository.Given{Repo: host + "/charts/web", Type: "helm", EnableOCI: true, InsecureOCIForceHTTP: true})
	must(t, rig.Until(ctx, 5*time.Second, "the tags of a registry", func(ctx context.Context) (bool, error) { // settings count within a second
		tags, err := p.RepositoryListOCITags(ctx, &repository.Query{Repo: host + "/charts/web"})
		return err == nil && strings.Join(tags.Tags, " ") == "1.2.0 1.3.0", err
	}))
	for _, url := range []string{helm.URL, host + "/charts/web"} {
		_, err = p.RepositoryDeleteRepository(ctx, &repository.Query{Repo: url})
		must(t, err)
	}
}

// startRegistry starts the registry of Debian's package docker-registry.
func startRegistry(t *testing.T) string {
	t.Helper()
	dir, host := t.TempDir(), "127.0.0.1:"+freePort(t)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %q}\n", dir, host)
	must(t, os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600))
	cmd := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	must(t, rig.Until(t.Context(), 20*time.Second, "the registry", func(ctx context.Context) (bool, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
		if err != nil {
			return false, err
		}
		return true, c.Close()
	}))
	return host
}

// push stores a chart in a registry.
func push(t *testing.T, host, name, tag string, chart []byte) {
	t.Helper()
	where, err := registry.NewRepository(host + "/" + name)
	must(t, err)
	where.PlainHTTP = true
	blob := func(kind string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: kind, Digest: godigest.FromBytes(content), Size: int64(len(content))}
		must(t, where.Blobs().Push(t.Context(), d, bytes.NewReader(content)))
		return d
	}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: blob("application/vnd.cncf.helm.config.v1+json", []byte("{}")),
		Layers: []ocispec.Descriptor{blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart)},
	}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	must(t, err)
	must(t, where.Manifests().PushReference(t.Context(), ocispec.Descriptor{MediaType: m.MediaType, Digest: godigest.FromBytes(raw), Size: int64(len(raw))}, bytes.NewReader(raw), tag))
}
