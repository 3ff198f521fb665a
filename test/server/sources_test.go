package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	registry "oras.land/oras-go/v2/registry/remote"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/repository"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// describedChart is a chart that says something of itself.
var describedChart = map[string]string{
	"web/Chart.yaml":  "apiVersion: v2\nname: web\nversion: %s\ndescription: A shop\nhome: https://shop.example\nmaintainers:\n- {name: Ann, email: ann@shop.example}\n- {name: Bob}\n",
	"web/values.yaml": "image: {tag: v1}\n", "web/templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
}

func chartAt(t *testing.T, version string) []byte {
	t.Helper()
	files := map[string]string{}
	for name, text := range describedChart {
		files[name] = strings.ReplaceAll(text, "%s", version)
	}
	return packed(t, files)
}

// guardedCharts is a Helm repository with two versions of a chart, for who
// knows the password.
func guardedCharts(t *testing.T) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		name, isChart := strings.CutPrefix(r.URL.Path, "/web-")
		switch {
		case user != "reader" || password != "CANARY-given":
			http.Error(w, "who are you", http.StatusUnauthorized)
		case r.URL.Path == "/index.yaml":
			_, _ = fmt.Fprint(w, "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.2.0, urls: [web-1.2.0.tgz]}\n  - {name: web, version: 1.1.0, urls: [web-1.1.0.tgz]}\n")
		case isChart:
			_, _ = w.Write(chartAt(t, strings.TrimSuffix(name, ".tgz")))
		default:
			http.NotFound(w, r)
		}
	}))
}

// revisionsElsewhere asks what the revisions of a Helm repository with a
// password, of a chart in a registry and of an OCI artifact are, and what is in
// them.
func (p *process) revisionsElsewhere(t *testing.T) {
	ctx := t.Context()
	helm := guardedCharts(t)
	defer helm.Close()
	host := startRegistry(t)
	push(t, host, "shop/web", "1.2.0", chartAt(t, "1.2.0"))
	digest := pushArtifact(t, host, "bundles/web", "v1", packed(t, map[string]string{"kustomization.yaml": "images: [{name: x, newTag: v9}]\n"}))
	given := []repository.Given{
		{Repo: helm.URL, Type: "helm", Username: "reader", Password: "CANARY-given"},
		{Repo: host + "/shop", Type: "helm", EnableOCI: true, InsecureOCIForceHTTP: true},
		{Repo: "oci://" + host + "/bundles/web", Type: "oci", InsecureOCIForceHTTP: true},
	}
	absent := repository.Given{Repo: "oci://" + host + "/bundles/none", Type: "oci", InsecureOCIForceHTTP: true}
	if _, err := p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: absent}); !is(err, fault.InvalidArgument) {
		t.Errorf("an artifact that is not there is declared: %v", err)
	}
	for _, g := range given {
		_, err := p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: g})
		must(t, err)
	}
	sources := map[string]v1alpha1.ApplicationSource{
		"helm":     {RepoURL: helm.URL, Chart: "web", TargetRevision: "1.2.0"},
		"registry": {RepoURL: host + "/shop", Chart: "web", TargetRevision: "1.2.0"},
		"artifact": {RepoURL: given[2].Repo, Path: ".", TargetRevision: "v1"},
	}
	for name, src := range sources {
		a := v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{Project: "default", Source: &src, Destination: v1alpha1.ApplicationDestination{Name: "eu-1", Namespace: "sources"}}}
		a.Name = "of-" + name
		must(t, rig.Until(ctx, 30*time.Second, "an Application of "+name, func(ctx context.Context) (bool, error) { // settings count within a second
			_, err := p.ApplicationCreate(ctx, &application.CreateRequest{Application: a})
			return err == nil, err
		}))
	}
	at := func(name, revision string) *application.RevisionQuery {
		return &application.RevisionQuery{Target: application.Target{Name: "of-" + name}, Revision: revision}
	}
	for name, revision := range map[string]string{"helm": "1.1.0", "registry": "1.2.0"} {
		chart, err := p.ApplicationRevisionChartDetails(ctx, at(name, revision))
		must(t, err)
		if chart.Description != "A shop" || chart.Home != "https://shop.example" || strings.Join(chart.Maintainers, ", ") != "Ann <ann@shop.example>, Bob" {
			t.Errorf("%s: the chart is %+v", name, chart)
		}
		if _, err := p.ApplicationRevisionChartDetails(ctx, at(name, "7.7.7")); !is(err, fault.NotFound) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: a version that is not there: %v", name, err)
		}
		if _, err := p.ApplicationGetOCIMetadata(ctx, at(name, revision)); !is(err, fault.InvalidArgument) {
			t.Errorf("%s: a chart is no artifact: %v", name, err)
		}
		if _, err := p.ApplicationRevisionMetadata(ctx, at(name, revision)); !is(err, fault.InvalidArgument) || !strings.Contains(err.Error(), "chartdetails") {
			t.Errorf("%s: a chart is no commit: %v", name, err)
		}
	}
	for _, revision := range []string{digest, "v1"} {
		artifact, err := p.ApplicationGetOCIMetadata(ctx, at("artifact", revision))
		must(t, err)
		if *artifact != (application.OCIMetadata{
			CreatedAt: "2026-05-01T12:00:00Z", Authors: "Ann", ImageURL: "https://shop.example", DocsURL: "https://docs.example", SourceURL: "https://git.example/shop", Version: "1", Description: "A bundle",
		}) {
			t.Errorf("%s: the artifact is %+v", revision, artifact)
		}
	}
	if _, err := p.ApplicationGetOCIMetadata(ctx, at("artifact", "sha256:"+strings.Repeat("0", 64))); !is(err, fault.NotFound) {
		t.Errorf("an artifact that is not there: %v", err)
	}
	p.looksInside(t, sources)
	for name := range sources {
		_, err := p.ApplicationDelete(ctx, &application.DeleteRequest{Target: application.Target{Name: "of-" + name}})
		must(t, err)
	}
	for _, g := range given {
		_, err := p.RepositoryDeleteRepository(ctx, &repository.Query{Repo: g.Repo})
		must(t, err)
	}
}

// looksInside asks what the sources of Applications are made of, and what a Git
// repository holds.
func (p *process) looksInside(t *testing.T, sources map[string]v1alpha1.ApplicationSource) {
	ctx := t.Context()
	for name, want := range map[string]string{
		"helm":     `{"type":"Helm","helm":{"name":"web","valueFiles":["values.yaml"],"parameters":[{"name":"image.tag","value":"v1"}],"values":"image: {tag: v1}\n"}}`,
		"registry": `{"type":"Helm","helm":{"name":"web","valueFiles":["values.yaml"],"parameters":[{"name":"image.tag","value":"v1"}],"values":"image: {tag: v1}\n"}}`,
		"artifact": `{"type":"Kustomize","kustomize":{"images":["x:v9"]}}`,
	} {
		src := sources[name]
		details, err := p.RepositoryGetAppDetails(ctx, &repository.DetailsRequest{URL: src.RepoURL, Source: src, AppName: "of-" + name, AppProject: "default"})
		must(t, err)
		if raw, err := json.Marshal(details); err != nil || string(raw) != want {
			t.Errorf("%s is made of %s, %v", name, raw, err)
		}
		src.TargetRevision = "0.0.1"
		if _, err := p.RepositoryGetAppDetails(ctx, &repository.DetailsRequest{URL: src.RepoURL, Source: src, AppName: "of-" + name, AppProject: "default"}); !is(err, fault.PermissionDenied) {
			t.Errorf("%s: a source that the Application never had: %v", name, err)
		}
	}
	_, err := p.Repo.Commit("many", gitserver.Files{
		"apps/chart/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "apps/kustom/kustomization.yml": "images: []\n", "apps/plain/a.yaml": "a: b\n",
	})
	must(t, err)
	url := p.Git.URL("gitops-fleet")
	_, err = p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: repository.Given{Repo: url}})
	must(t, err)
	must(t, rig.Until(ctx, 30*time.Second, "what the repository holds", func(ctx context.Context) (bool, error) {
		found, err := p.RepositoryListApps(ctx, &repository.AppsQuery{Query: repository.Query{Repo: url, AppProject: "default"}, AppName: "new", Revision: "main"})
		raw, _ := json.Marshal(found)
		if text := string(raw); err == nil && text != `{"items":[{"type":"Helm","path":"apps/chart"},{"type":"Kustomize","path":"apps/kustom"}]}` {
			return false, fmt.Errorf("found %s", text)
		}
		return err == nil, err
	}))
	_, err = p.RepositoryDeleteRepository(ctx, &repository.Query{Repo: url})
	must(t, err)
}

// pushArtifact stores a packed folder in a registry, and gives its digest.
func pushArtifact(t *testing.T, host, name, tag string, content []byte) string {
	t.Helper()
	where, err := registry.NewRepository(host + "/" + name)
	must(t, err)
	where.PlainHTTP = true
	blob := func(kind string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: kind, Digest: godigest.FromBytes(content), Size: int64(len(content))}
		must(t, where.Blobs().Push(t.Context(), d, bytes.NewReader(content)))
		return d
	}
	const prefix = "org.opencontainers.image."
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: blob("application/vnd.oci.empty.v1+json", []byte("{}")), Layers: []ocispec.Descriptor{blob(ocispec.MediaTypeImageLayerGzip, content)},
		Annotations: map[string]string{
			prefix + "created": "2026-05-01T12:00:00Z", prefix + "authors": "Ann", prefix + "url": "https://shop.example", prefix + "documentation": "https://docs.example",
			prefix + "source": "https://git.example/shop", prefix + "version": "1", prefix + "description": "A bundle", "private": "not shown",
		},
	}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	must(t, err)
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: godigest.FromBytes(raw), Size: int64(len(raw))}
	must(t, where.Manifests().PushReference(t.Context(), d, bytes.NewReader(raw), tag))
	return d.Digest.String()
}
