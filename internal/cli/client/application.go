package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

const (
	appsPath   = "/api/v1/applications"
	streamPath = "/api/v1/stream/applications"
)

// App names an Application; Namespace and Project may be empty.
type App struct{ Namespace, Name, Project string }

func (a App) query() url.Values {
	q := url.Values{}
	set(q, "appNamespace", a.Namespace)
	set(q, "project", a.Project)
	return q
}

func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

func setBool(q url.Values, key string, value bool) {
	if value {
		q.Set(key, "true")
	}
}

// with is a request whose body also names the Application.
func (a App) with(body any) (map[string]any, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	out["name"] = a.Name
	if a.Namespace != "" {
		out["appNamespace"] = a.Namespace
	}
	if a.Project != "" {
		out["project"] = a.Project
	}
	return out, nil
}

// AppQuery selects Applications.
type AppQuery struct {
	Name, Namespace, Selector, Repo string
	Projects                        []string
	// Fields to keep; empty is all.
	Fields string
	// ResourceVersion from which a watch begins; empty begins with all.
	ResourceVersion string
}

func (q AppQuery) values() url.Values {
	v := url.Values{}
	set(v, "name", q.Name)
	set(v, "appNamespace", q.Namespace)
	set(v, "selector", q.Selector)
	set(v, "repo", q.Repo)
	set(v, "fields", q.Fields)
	set(v, "resourceVersion", q.ResourceVersion)
	for _, p := range q.Projects {
		v.Add("projects", p)
	}
	return v
}

// Apps lists Applications.
func (c *Client) Apps(ctx context.Context, q AppQuery) (*v1alpha1.ApplicationList, error) {
	var out v1alpha1.ApplicationList
	return &out, c.do(ctx, call{method: "GET", path: appsPath, query: q.values()}, &out)
}

// App reads an Application; refresh is "", normal or hard, and waits until the
// controller has looked at it.
func (c *Client) App(ctx context.Context, a App, refresh string) (*v1alpha1.Application, error) {
	q := a.query()
	set(q, "refresh", refresh)
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "GET", path: at(appsPath, a.Name), query: q}, &out)
}

// CreateApp creates an Application; upsert replaces one that is different.
func (c *Client) CreateApp(ctx context.Context, app *v1alpha1.Application, upsert, validate bool) (*v1alpha1.Application, error) {
	q := url.Values{"validate": {strconv.FormatBool(validate)}}
	setBool(q, "upsert", upsert)
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "POST", path: appsPath, query: q, body: app}, &out)
}

// UpdateApp replaces spec, labels and annotations.
func (c *Client) UpdateApp(ctx context.Context, app *v1alpha1.Application, validate bool) (*v1alpha1.Application, error) {
	q := url.Values{"validate": {strconv.FormatBool(validate)}}
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "PUT", path: at(appsPath, app.Name), query: q, body: app}, &out)
}

// UpdateAppSpec replaces the spec.
func (c *Client) UpdateAppSpec(ctx context.Context, a App, spec *v1alpha1.ApplicationSpec, validate bool) (*v1alpha1.ApplicationSpec, error) {
	q := a.query()
	q.Set("validate", strconv.FormatBool(validate))
	var out v1alpha1.ApplicationSpec
	return &out, c.do(ctx, call{method: "PUT", path: at(appsPath, a.Name) + "/spec", query: q, body: spec}, &out)
}

// PatchApp patches an Application; kind is json or merge.
func (c *Client) PatchApp(ctx context.Context, a App, patch, kind string) (*v1alpha1.Application, error) {
	body, err := a.with(map[string]string{"patch": patch, "patchType": kind})
	if err != nil {
		return nil, err
	}
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "PATCH", path: at(appsPath, a.Name), body: body}, &out)
}

// DeleteApp deletes an Application; policy is "", foreground or background.
func (c *Client) DeleteApp(ctx context.Context, a App, cascade bool, policy string) error {
	q := a.query()
	q.Set("cascade", strconv.FormatBool(cascade))
	set(q, "propagationPolicy", policy)
	return c.do(ctx, call{method: "DELETE", path: at(appsPath, a.Name), query: q}, nil)
}

// SyncApp begins a sync.
func (c *Client) SyncApp(ctx context.Context, a App, r SyncRequest) (*v1alpha1.Application, error) {
	body, err := a.with(r)
	if err != nil {
		return nil, err
	}
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "POST", path: at(appsPath, a.Name) + "/sync", body: body}, &out)
}

// Rollback begins a sync to history entry id.
func (c *Client) Rollback(ctx context.Context, a App, id int64, prune bool) (*v1alpha1.Application, error) {
	body, err := a.with(map[string]any{"id": id, "prune": prune})
	if err != nil {
		return nil, err
	}
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "POST", path: at(appsPath, a.Name) + "/rollback", body: body}, &out)
}

// Terminate ends the running operation.
func (c *Client) Terminate(ctx context.Context, a App) error {
	return c.do(ctx, call{method: "DELETE", path: at(appsPath, a.Name) + "/operation", query: a.query()}, nil)
}

// Resume releases the hold of an Application.
func (c *Client) Resume(ctx context.Context, a App) (*v1alpha1.Application, error) {
	body, err := a.with(map[string]string{})
	if err != nil {
		return nil, err
	}
	var out v1alpha1.Application
	return &out, c.do(ctx, call{method: "POST", path: at(appsPath, a.Name) + "/resume", body: body}, &out)
}

// Tree reads the tree of an Application.
func (c *Client) Tree(ctx context.Context, a App) (*Tree, error) {
	var out Tree
	return &out, c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/resource-tree", query: a.query()}, &out)
}

// Managed lists what Git asks for beside what is there.
func (c *Client) Managed(ctx context.Context, a App) ([]ManagedResource, error) {
	var out list[ManagedResource]
	err := c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/managed-resources", query: a.query()}, &out)
	return out.Items, err
}

// ManifestQuery asks for what Git says at certain revisions.
type ManifestQuery struct {
	Revision  string
	Revisions []string
	Positions []int64
	NoCache   bool
}

// Manifests are the rendered objects, each as JSON.
func (c *Client) Manifests(ctx context.Context, a App, m ManifestQuery) ([]string, error) {
	q := a.query()
	set(q, "revision", m.Revision)
	for i, r := range m.Revisions {
		q.Add("revisions", r)
		q.Add("sourcePositions", strconv.FormatInt(m.Positions[i], 10))
	}
	setBool(q, "noCache", m.NoCache)
	var out struct {
		Manifests []string `json:"manifests"`
	}
	err := c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/manifests", query: q}, &out)
	return out.Manifests, err
}

// SyncWindows are the sync windows of an Application.
func (c *Client) SyncWindows(ctx context.Context, a App) (*Windows, error) {
	var out Windows
	return &out, c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/syncwindows", query: a.query()}, &out)
}

func (r ResourceRef) query(a App) url.Values {
	q := a.query()
	set(q, "namespace", r.Namespace)
	set(q, "resourceName", r.Name)
	set(q, "version", r.Version)
	set(q, "group", r.Group)
	set(q, "kind", r.Kind)
	return q
}

// Resource reads a live object, as JSON.
func (c *Client) Resource(ctx context.Context, a App, r ResourceRef) (string, error) {
	var out struct {
		Manifest string `json:"manifest"`
	}
	err := c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/resource", query: r.query(a)}, &out)
	return out.Manifest, err
}

// PatchResource patches a live object; kind is a MIME type.
func (c *Client) PatchResource(ctx context.Context, a App, r ResourceRef, patch, kind string) (string, error) {
	q := r.query(a)
	q.Set("patchType", kind)
	var out struct {
		Manifest string `json:"manifest"`
	}
	err := c.do(ctx, call{method: "POST", path: at(appsPath, a.Name) + "/resource", query: q, body: patch}, &out)
	return out.Manifest, err
}

// Deletion says how an object is deleted.
type Deletion struct{ Force, Orphan bool }

// DeleteResource deletes a live object.
func (c *Client) DeleteResource(ctx context.Context, a App, r ResourceRef, how Deletion) error {
	q := r.query(a)
	setBool(q, "force", how.Force)
	setBool(q, "orphan", how.Orphan)
	return c.do(ctx, call{method: "DELETE", path: at(appsPath, a.Name) + "/resource", query: q}, nil)
}

// Actions lists what can be done with an object.
func (c *Client) Actions(ctx context.Context, a App, r ResourceRef) ([]Action, error) {
	var out struct {
		Actions []Action `json:"actions"`
	}
	err := c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/resource/actions", query: r.query(a)}, &out)
	return out.Actions, err
}

// RunAction does something with an object, by the older call where the server
// knows no newer one (spec/cli.md §2.4).
func (c *Client) RunAction(ctx context.Context, a App, r ResourceRef, action string) error {
	body, err := a.with(map[string]string{
		"namespace": r.Namespace, "resourceName": r.Name, "version": r.Version, "group": r.Group, "kind": r.Kind, "action": action,
	})
	if err != nil {
		return err
	}
	path := at(appsPath, a.Name) + "/resource/actions"
	if err = c.do(ctx, call{method: "POST", path: path + "/v2", body: body}, nil); CodeOf(err) != Unimplemented {
		return err
	}
	return c.do(ctx, call{method: "POST", path: path, query: r.query(a), body: action}, nil)
}

// Events lists events: of the Application when r is empty.
func (c *Client) Events(ctx context.Context, a App, r ResourceRef) ([]Event, error) {
	q := a.query()
	set(q, "resourceUID", r.UID)
	set(q, "resourceName", r.Name)
	set(q, "resourceNamespace", r.Namespace)
	var out list[Event]
	err := c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/events", query: q}, &out)
	return out.Items, err
}

// LogQuery asks for logs.
type LogQuery struct {
	Namespace, Pod, Container, Group, Kind, Name, Filter, UntilTime string
	Tail, SinceSeconds                                              int64
	Follow, Previous, MatchCase                                     bool
}

// Logs streams log lines until each fails or the last was handed over; the
// error of a stream that broke is that of the connection.
func (c *Client) Logs(ctx context.Context, a App, l LogQuery, each func(LogEntry) error) error {
	q := a.query()
	for _, p := range []struct{ key, value string }{
		{"namespace", l.Namespace}, {"podName", l.Pod}, {"container", l.Container}, {"group", l.Group}, {"kind", l.Kind},
		{"resourceName", l.Name}, {"filter", l.Filter}, {"untilTime", l.UntilTime},
	} {
		set(q, p.key, p.value)
	}
	if l.Tail > 0 {
		q.Set("tailLines", strconv.FormatInt(l.Tail, 10))
	}
	if l.SinceSeconds > 0 {
		q.Set("sinceSeconds", strconv.FormatInt(l.SinceSeconds, 10))
	}
	setBool(q, "follow", l.Follow)
	setBool(q, "previous", l.Previous)
	setBool(q, "matchCase", l.MatchCase)
	err := c.pour(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/logs", query: q}, func(raw json.RawMessage) error {
		var e LogEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("log entry: %w", err)
		}
		if e.Last {
			return errEnough
		}
		return each(e)
	})
	if err == errEnough { //nolint:errorlint // it is never wrapped
		return nil
	}
	return err
}

// WatchApps hands over Applications as they change, until ctx ends or each
// returns Enough or another error. A watch that breaks begins anew.
func (c *Client) WatchApps(ctx context.Context, q AppQuery, each func(*AppEvent) error) error {
	return watch(ctx, c, call{method: "GET", path: streamPath, query: q.values()}, each)
}

// WatchTree hands over the tree of an Application as it changes.
func (c *Client) WatchTree(ctx context.Context, a App, each func(*Tree) error) error {
	return watch(ctx, c, call{method: "GET", path: at(streamPath, a.Name) + "/resource-tree", query: a.query()}, each)
}

// Predict asks the cluster what an apply of a target would make of a managed
// object; target is JSON.
func (c *Client) Predict(ctx context.Context, a App, target string) (*ManagedResource, error) {
	q := a.query()
	q.Set("targetManifests", target)
	var out list[ManagedResource]
	err := c.do(ctx, call{method: "GET", path: at(appsPath, a.Name) + "/server-side-diff", query: q}, &out)
	if err == nil && len(out.Items) != 1 {
		err = fmt.Errorf("server-side diff: %d answers for one object", len(out.Items))
	}
	if err != nil {
		return nil, err
	}
	return &out.Items[0], nil
}
