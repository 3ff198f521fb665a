package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Qualified is namespace/name, or the name alone when the server says no
// namespace.
func Qualified(app *v1alpha1.Application) string {
	if app.Namespace == "" {
		return app.Name
	}
	return app.Namespace + "/" + app.Name
}

// automated says whether and how an Application syncs by itself.
func automated(app *v1alpha1.Application) *v1alpha1.SyncPolicyAutomated {
	p := app.Spec.SyncPolicy
	if p == nil || p.Automated == nil || p.Automated.Enabled != nil && !*p.Automated.Enabled {
		return nil
	}
	return p.Automated
}

var sha = regexp.MustCompile(`^[0-9a-f]{40}$|^[0-9a-f]{64}$`)

// short is a revision as tables show it.
func short(revision string) string {
	if sha.MatchString(revision) {
		return revision[:7]
	}
	return revision
}

// targets are what the sources ask for; none is HEAD.
func targets(app *v1alpha1.Application) []string {
	var out []string
	for _, s := range app.Spec.GetSources() {
		out = append(out, cmp.Or(s.TargetRevision, "HEAD"))
	}
	return out
}

// compared are the revisions that the last comparison looked at.
func compared(app *v1alpha1.Application) []string {
	if len(app.Status.Sync.Revisions) > 0 {
		return app.Status.Sync.Revisions
	}
	if app.Status.Sync.Revision == "" {
		return nil
	}
	return []string{app.Status.Sync.Revision}
}

// syncLine is "Synced to main (53e28ff)".
func syncLine(app *v1alpha1.Application) string {
	status := app.Status.Sync.Status
	word := ""
	switch status {
	case v1alpha1.SyncStatusSynced:
		word = " to "
	case v1alpha1.SyncStatusOutOfSync:
		word = " from "
	default:
		return string(cmp.Or(status, v1alpha1.SyncStatusUnknown))
	}
	line := string(status) + word + strings.Join(targets(app), ", ")
	var seen []string
	for i, r := range compared(app) {
		if i < len(targets(app)) && !sha.MatchString(targets(app)[i]) && len(r) > 7 {
			seen = append(seen, r[:7])
		}
	}
	if len(seen) > 0 {
		line += " (" + strings.Join(seen, ", ") + ")"
	}
	return line
}

// windowLine says what sync windows allow now.
func windowLine(w *client.Windows) string {
	has := func(all []client.Window, kind string) bool {
		return slices.ContainsFunc(all, func(w client.Window) bool { return w.Kind == kind })
	}
	switch {
	case len(w.Assigned) == 0:
		return "Sync Allowed"
	case !w.CanSync:
		return "Sync Denied"
	case has(w.Active, "deny"), has(w.Assigned, "allow") && !has(w.Active, "allow"):
		return "Manual Allowed"
	}
	return "Sync Allowed"
}

func windowList(w *client.Windows) string {
	var all []string
	for _, one := range w.Assigned {
		all = append(all, one.Kind+":"+one.Schedule+":"+one.Duration)
	}
	return strings.Join(all, ",")
}

// appURL is where the UI shows the Application.
func appURL(ctx context.Context, c *client.Client, app *v1alpha1.Application) string {
	base := ""
	if s, err := c.Settings(ctx); err == nil {
		base = strings.TrimSuffix(s.URL, "/")
	}
	if base == "" {
		scheme, port := "https", ":443"
		if c.PlainText() {
			scheme, port = "http", ":80"
		}
		base = scheme + "://" + strings.TrimSuffix(c.Address(), port)
	}
	return base + "/applications/" + Qualified(app)
}

// rows writes labels and values.
type rows struct {
	w   io.Writer
	err error
}

func (r *rows) add(label, value string) {
	if r.err == nil {
		r.err = output.Row(r.w, label, value)
	}
}

// printSummary prints the head of app get; windows may be nil.
func printSummary(w io.Writer, app *v1alpha1.Application, url string, windows *client.Windows) error {
	r := &rows{w: w}
	r.add("Name:", Qualified(app))
	r.add("Project:", cmp.Or(app.Spec.Project, "default"))
	r.add("Server:", cmp.Or(app.Spec.Destination.Server, app.Spec.Destination.Name))
	r.add("Namespace:", app.Spec.Destination.Namespace)
	r.add("URL:", url)
	label := "Source:"
	if len(app.Spec.Sources) > 0 {
		label = "Sources:"
	}
	r.add(label, "")
	for _, s := range app.Spec.GetSources() {
		r.source(&s)
	}
	if windows != nil {
		r.add("SyncWindow:", windowLine(windows))
		if len(windows.Assigned) > 0 {
			r.add("Assigned Windows:", windowList(windows))
		}
	}
	policy := "Manual"
	if a := automated(app); a != nil {
		policy = "Automated"
		if a.Prune {
			policy += " (Prune)"
		}
	}
	r.add("Sync Policy:", policy)
	r.add("Sync Status:", syncLine(app))
	health := string(cmp.Or(app.Status.Health.Status, v1alpha1.HealthUnknown))
	if app.Status.Health.Message != "" {
		health += " (" + app.Status.Health.Message + ")"
	}
	r.add("Health Status:", health)
	if h := app.Status.Hold; h != nil {
		r.add("Held:", heldLine(h))
	}
	return r.err
}

// heldLine says (Sluice) that somebody keeps the Application where it is.
func heldLine(h *v1alpha1.Hold) string {
	line := "at " + strings.Join(shorts(h.Revisions), ", ")
	if h.By != "" {
		line += " by " + h.By
	}
	if h.Reason != "" {
		line += ": " + h.Reason
	}
	if len(h.Rejected) > 0 {
		line += ", instead of " + strings.Join(shorts(h.Rejected), ", ")
	}
	return line
}

func shorts(revisions []string) []string {
	out := make([]string, len(revisions))
	for i, r := range revisions {
		out[i] = short(r)
	}
	return out
}

func (r *rows) source(s *v1alpha1.ApplicationSource) {
	r.add("- Repo:", s.RepoURL)
	r.add("  Target:", cmp.Or(s.TargetRevision, "HEAD"))
	if s.Path != "" {
		r.add("  Path:", s.Path)
	}
	if s.Chart != "" {
		r.add("  Chart:", s.Chart)
	}
	if s.Ref != "" {
		r.add("  Ref:", s.Ref)
	}
	if s.Helm != nil && len(s.Helm.ValueFiles) > 0 {
		r.add("  Helm Values:", strings.Join(s.Helm.ValueFiles, ","))
	}
	if s.Kustomize != nil && s.Kustomize.NamePrefix != "" {
		r.add("  Name Prefix:", s.Kustomize.NamePrefix)
	}
}

// printConditions prints a table of conditions, when there are any.
func printConditions(w io.Writer, app *v1alpha1.Application) error {
	if len(app.Status.Conditions) == 0 {
		return nil
	}
	table := [][]string{{"CONDITION", "MESSAGE", "LAST TRANSITION"}}
	for _, c := range app.Status.Conditions {
		at := "<unknown>"
		if c.LastTransitionTime != nil {
			at = c.LastTransitionTime.String()
		}
		table = append(table, []string{c.Type, c.Message, at})
	}
	if err := output.Table(w, table); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// printOperation prints the running or last operation.
func printOperation(w io.Writer, state *v1alpha1.OperationState, now time.Time) error {
	if state == nil {
		return nil
	}
	r := &rows{w: w}
	if state.Operation.Sync != nil {
		r.add("Operation:", "Sync")
		if result := state.SyncResult; result != nil && len(result.Revisions) > 0 {
			r.add("Sync Revision:", strings.Join(result.Revisions, ", "))
		} else if result != nil {
			r.add("Sync Revision:", result.Revision)
		} else {
			r.add("Sync Revision:", state.Operation.Sync.Revision)
		}
	}
	r.add("Phase:", string(state.Phase))
	r.add("Start:", state.StartedAt.String())
	end := now
	finished := ""
	if state.FinishedAt != nil {
		end, finished = state.FinishedAt.Time, state.FinishedAt.String()
	}
	r.add("Finished:", finished)
	r.add("Duration:", end.Sub(state.StartedAt.Time).Round(time.Second).String())
	if state.Message != "" {
		r.add("Message:", state.Message)
	}
	return r.err
}
