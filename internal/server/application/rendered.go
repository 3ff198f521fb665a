package application

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// ManifestQuery asks for rendered manifests.
type ManifestQuery struct {
	Target
	Revision        string   `json:"-" query:"revision"`
	SourcePositions []int64  `json:"-" query:"sourcePositions"`
	Revisions       []string `json:"-" query:"revisions"`
	NoCache         bool     `json:"-" query:"noCache"`
}

// ManifestResponse holds objects as JSON texts.
type ManifestResponse struct {
	Manifests  []string `json:"manifests,omitempty"`
	Namespace  string   `json:"namespace,omitempty"`
	Server     string   `json:"server,omitempty"`
	Revision   string   `json:"revision,omitempty"`
	SourceType string   `json:"sourceType,omitempty"`
}

// GetManifests renders the sources of an Application, at other revisions when
// asked. Values of Secrets are masked.
func (s *Service) GetManifests(ctx context.Context, c *route.Call, q *ManifestQuery) (*ManifestResponse, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(app)
	if err != nil {
		return nil, err
	}
	sources, err := withRevisions(app, q)
	if err != nil {
		return nil, err
	}
	return s.generate(ctx, rendering{app: app, project: project, sources: sources, hard: q.NoCache})
}

// rendering is what is to be rendered: sources of an Application, the first
// from files when there are some.
type rendering struct {
	app     *v1alpha1.Application
	project *v1alpha1.AppProject
	sources []v1alpha1.ApplicationSource
	files   tree.Tree
	hard    bool
}

func (s *Service) generate(ctx context.Context, r rendering) (*ManifestResponse, error) {
	if s.renderer() == nil || s.engine() == nil {
		return nil, unavailable()
	}
	app, project := r.app, r.project
	for _, src := range r.sources {
		if !policy.Source(project, src.RepoURL) {
			return nil, fault.New(fault.PermissionDenied, "repository '%s' not permitted in project '%s'", src.RepoURL, project.Name)
		}
	}
	cluster, err := s.Settings().Clusters.Resolve(app.Spec.Destination.Server, app.Spec.Destination.Name)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	kube, apis, err := s.engine().Capabilities(cluster.Server)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "cluster %s: %w", cluster.Name, err)
	}
	var revisions []string
	for i, src := range r.sources {
		if i == 0 && r.files != nil {
			revisions = append(revisions, r.files.Revision())
			continue
		}
		id, err := s.renderer().Resolve(ctx, project.Name, src, r.hard)
		if err != nil {
			return nil, fault.New(fault.FailedPrecondition, "cannot resolve revision %q: %w", src.TargetRevision, err)
		}
		revisions = append(revisions, id)
	}
	rendered, err := s.renderer().Generate(ctx, manifest.Query{
		App:     render.App{Name: app.Name, Instance: object.Instance(app, s.Hub.Namespace), Namespace: app.Spec.Destination.Namespace, Project: project.Name},
		Sources: r.sources, KubeVersion: kube, APIVersions: apis, Hard: r.hard, Local: r.files, GeneratePaths: app.Annotations[v1alpha1.AnnotationGeneratePaths],
	}, revisions)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "manifests: %w", err)
	}
	out := &ManifestResponse{Namespace: app.Spec.Destination.Namespace, Server: cluster.Server, Revision: strings.Join(revisions, ",")}
	if len(rendered.SourceTypes) > 0 {
		out.SourceType = rendered.SourceTypes[0]
	}
	tracking := object.TrackingOf(s.Hub.Config("argocd-cm"))
	for _, rendered := range rendered.Objects {
		o := rendered.DeepCopy()
		tracking.Mark(o, object.Instance(app, s.Hub.Namespace), app.Spec.Destination.Namespace)
		text, err := s.text(o)
		if err != nil {
			return nil, err
		}
		out.Manifests = append(out.Manifests, text)
	}
	return out, nil
}

// text is an object as JSON, without secrets.
func (s *Service) text(o *unstructured.Unstructured) (string, error) {
	masked, _ := diff.Masked(o, nil, s.sensitive())
	raw, err := json.Marshal(masked.Object)
	if err != nil {
		return "", fmt.Errorf("object %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return string(raw), nil
}

// sensitive are the annotations of Secrets that are masked too.
func (s *Service) sensitive() []string {
	var out []string
	for _, one := range strings.Split(s.Hub.Config("argocd-cm")["resource.sensitive.mask.annotations"], ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}

func withRevisions(app *v1alpha1.Application, q *ManifestQuery) ([]v1alpha1.ApplicationSource, error) {
	sources := append([]v1alpha1.ApplicationSource(nil), app.Spec.GetSources()...)
	if len(q.Revisions) != len(q.SourcePositions) {
		return nil, fault.New(fault.InvalidArgument, "revisions and sourcePositions have different lengths: each revision needs the position of its source")
	}
	for i, at := range q.SourcePositions {
		if at < 1 || int(at) > len(sources) {
			return nil, fault.New(fault.InvalidArgument, "sourcePositions[%d] is %d: the application has sources 1 to %d", i, at, len(sources))
		}
		sources[at-1].TargetRevision = q.Revisions[i]
	}
	if q.Revision != "" && len(sources) > 0 && len(app.Spec.Sources) == 0 {
		sources[0].TargetRevision = q.Revision
	}
	return sources, nil
}

// RevisionQuery asks what a revision of a source is.
type RevisionQuery struct {
	Target
	Revision string `json:"-" path:"revision"`
	// SourceIndex counts from 0; VersionID is an entry of the history.
	SourceIndex *int64 `json:"-" query:"sourceIndex"`
	VersionID   *int64 `json:"-" query:"versionId"`
}

// RevisionMetadata is what is known of a commit.
type RevisionMetadata struct {
	Author        string              `json:"author,omitempty"`
	Date          string              `json:"date,omitempty"`
	Tags          []string            `json:"tags,omitempty"`
	Message       string              `json:"message,omitempty"`
	SignatureInfo string              `json:"signatureInfo,omitempty"`
	References    []RevisionReference `json:"references,omitempty"`
}

// RevisionReference is a commit elsewhere that led to this one.
type RevisionReference struct {
	Commit *CommitMetadata `json:"commit,omitempty"`
}

// CommitMetadata describes a commit of another repository.
type CommitMetadata struct {
	Author  string `json:"author,omitempty"`
	Date    string `json:"date,omitempty"`
	Subject string `json:"subject,omitempty"`
	Body    string `json:"body,omitempty"`
	SHA     string `json:"sha,omitempty"`
	RepoURL string `json:"repoURL,omitempty"`
}

var revisionText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+:@-]{0,255}$`)

// described asks what a revision of a source of an Application is.
func (s *Service) described(ctx context.Context, c *route.Call, q *RevisionQuery) (*manifest.Description, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	if !revisionText.MatchString(q.Revision) {
		return nil, fault.New(fault.InvalidArgument, "revision %q is no revision", q.Revision)
	}
	src, err := sourceAt(app, q.SourceIndex, q.VersionID)
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(app)
	if err != nil {
		return nil, err
	}
	if !policy.Source(project, src.RepoURL) {
		return nil, fault.New(fault.PermissionDenied, "repository '%s' not permitted in project '%s'", src.RepoURL, project.Name)
	}
	if s.renderer() == nil {
		return nil, unavailable()
	}
	d, err := s.renderer().Describe(ctx, project.Name, src, q.Revision, s.Settings().Keys)
	if err != nil {
		return nil, fault.New(fault.NotFound, "revision %s: %w", q.Revision, err)
	}
	return &d, nil
}

// sourceAt finds a source of the spec, or of an entry of the history.
func sourceAt(app *v1alpha1.Application, index, version *int64) (v1alpha1.ApplicationSource, error) {
	sources := app.Spec.GetSources()
	if version != nil {
		sources = nil
		for _, h := range app.Status.History {
			if h.ID == *version {
				if sources = h.Sources; len(sources) == 0 {
					sources = []v1alpha1.ApplicationSource{h.Source}
				}
			}
		}
		if sources == nil {
			return v1alpha1.ApplicationSource{}, fault.New(fault.InvalidArgument, "revision not found for version id %d", *version)
		}
	}
	at := int64(0)
	if index != nil {
		at = *index
	}
	if at < 0 || at >= int64(len(sources)) {
		return v1alpha1.ApplicationSource{}, fault.New(fault.InvalidArgument, "source index %d not found: there are %d sources", at, len(sources))
	}
	return sources[at], nil
}

// RevisionMetadata says who made a commit, when, and why.
func (s *Service) RevisionMetadata(ctx context.Context, c *route.Call, q *RevisionQuery) (*RevisionMetadata, error) {
	d, err := s.described(ctx, c, q)
	if err != nil {
		return nil, err
	}
	if d.Commit == nil {
		return nil, fault.New(fault.InvalidArgument, "revision %s is no commit: ask for chartdetails or ocimetadata", q.Revision)
	}
	out := &RevisionMetadata{
		Author: d.Commit.Author.String(), Date: d.Commit.Author.At.UTC().Format(time.RFC3339), Tags: d.Commit.Tags, Message: d.Commit.Message, SignatureInfo: d.Signature,
	}
	for _, r := range d.Commit.References() {
		out.References = append(out.References, RevisionReference{Commit: &CommitMetadata{
			Author: r.Author, Date: r.Date, Subject: r.Subject, Body: r.Body, SHA: r.SHA, RepoURL: r.RepoURL,
		}})
	}
	return out, nil
}

// ChartDetails is what a chart says of itself.
type ChartDetails struct {
	Description string   `json:"description,omitempty"`
	Maintainers []string `json:"maintainers,omitempty"`
	Home        string   `json:"home,omitempty"`
}

// ChartDetails says what a chart is.
func (s *Service) ChartDetails(ctx context.Context, c *route.Call, q *RevisionQuery) (*ChartDetails, error) {
	d, err := s.described(ctx, c, q)
	if err != nil {
		return nil, err
	}
	if d.Chart == nil {
		return nil, fault.New(fault.InvalidArgument, "revision %s is no chart", q.Revision)
	}
	return &ChartDetails{Description: d.Chart.Description, Maintainers: d.Chart.Maintainers, Home: d.Chart.Home}, nil
}

// OCIMetadata is what an OCI artifact says of itself by its annotations.
type OCIMetadata struct {
	CreatedAt   string `json:"createdAt,omitempty"`
	Authors     string `json:"authors,omitempty"`
	ImageURL    string `json:"imageUrl,omitempty"`
	DocsURL     string `json:"docsUrl,omitempty"`
	SourceURL   string `json:"sourceUrl,omitempty"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
}

// OCIMetadata says what an artifact is.
func (s *Service) OCIMetadata(ctx context.Context, c *route.Call, q *RevisionQuery) (*OCIMetadata, error) {
	d, err := s.described(ctx, c, q)
	if err != nil {
		return nil, err
	}
	if d.Annotations == nil && (d.Commit != nil || d.Chart != nil) {
		return nil, fault.New(fault.InvalidArgument, "revision %s is no OCI artifact", q.Revision)
	}
	at := func(name string) string { return d.Annotations["org.opencontainers.image."+name] }
	return &OCIMetadata{
		CreatedAt: at("created"), Authors: at("authors"), ImageURL: at("url"), DocsURL: at("documentation"), SourceURL: at("source"),
		Version: at("version"), Description: at("description"),
	}, nil
}

// unavailable is said where no cluster is watched and nothing is rendered.
func unavailable() error {
	return fault.New(fault.Unavailable, "this server reaches no controller: ask again, or look whether one runs")
}
