package proj

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/window"
)

func (v *verbs) windows() *cobra.Command {
	return command.Group("windows", "Manage sync windows of projects",
		v.addWindow(), v.updateWindow(), v.deleteWindow(), v.listWindows(),
		v.switchWindow("enable-manual-sync", "Permit syncs by hand while a window is closed", func(w *v1alpha1.SyncWindow) { w.ManualSync = true }),
		v.switchWindow("disable-manual-sync", "Forbid syncs by hand while a window is closed", func(w *v1alpha1.SyncWindow) { w.ManualSync = false }),
		v.switchWindow("enable-sync-overrun", "Let syncs go on that run when a window closes", func(w *v1alpha1.SyncWindow) { w.SyncOverrun = true }),
		v.switchWindow("disable-sync-overrun", "Hold syncs that run when a window closes", func(w *v1alpha1.SyncWindow) { w.SyncOverrun = false }),
	)
}

// windowFlags describe a window.
type windowFlags struct {
	fs *pflag.FlagSet
	w  v1alpha1.SyncWindow
}

func (f *windowFlags) register(fs *pflag.FlagSet, kind bool) {
	f.fs = fs
	if kind {
		fs.StringVarP(&f.w.Kind, "kind", "k", "", "allow or deny")
		fs.BoolVar(&f.w.ManualSync, "manual-sync", false, "permit syncs by hand while it is closed")
		fs.BoolVar(&f.w.SyncOverrun, "sync-overrun", false, "let syncs go on that run when it closes")
		fs.BoolVar(&f.w.UseAndOperator, "use-and-operator", false, "all of applications, namespaces and clusters must fit")
	}
	fs.StringVar(&f.w.Schedule, "schedule", "", "when it begins, as in cron: \"0 22 * * *\"")
	fs.StringVar(&f.w.Duration, "duration", "", "how long it lasts, such as 1h")
	fs.StringSliceVar(&f.w.Applications, "applications", nil, "Applications that it is for, globs; may be repeated")
	fs.StringSliceVar(&f.w.Namespaces, "namespaces", nil, "namespaces that it is for, globs; may be repeated")
	fs.StringSliceVar(&f.w.Clusters, "clusters", nil, "clusters that it is for, globs; may be repeated")
	fs.StringVar(&f.w.TimeZone, "time-zone", "UTC", "time zone of the schedule")
	fs.StringVar(&f.w.Description, "description", "", "what it is for")
}

func (v *verbs) addWindow() *cobra.Command {
	f := &windowFlags{}
	c := v.rule(rule{"add PROJECT", "Add a window", 1, 1, func(p *v1alpha1.AppProject, _ []string) (bool, error) {
		switch {
		case f.w.Kind != "allow" && f.w.Kind != "deny":
			return false, fail.New("add --kind allow or --kind deny", "kind '%s' mismatch: can only be allow or deny", f.w.Kind)
		case len(f.w.Applications)+len(f.w.Namespaces)+len(f.w.Clusters) == 0:
			return false, fail.New("add --applications '*'", "cannot create window: require one of application, cluster, namespace")
		}
		p.Spec.SyncWindows = append(p.Spec.SyncWindows, f.w)
		return true, nil
	}})
	f.register(c.Flags(), true)
	return c
}

// windowAt finds a window by its index, counted from zero.
func windowAt(p *v1alpha1.AppProject, text string) (int, error) {
	i, err := strconv.Atoi(text)
	if err != nil {
		return 0, fail.New("proj windows list "+p.Name, "%q is no number: the first column of proj windows list has the ids", text)
	}
	if i < 0 || i >= len(p.Spec.SyncWindows) {
		return 0, fail.New("proj windows list "+p.Name, "window with id '%d' not found: project %s has %d", i, p.Name, len(p.Spec.SyncWindows))
	}
	return i, nil
}

func (v *verbs) updateWindow() *cobra.Command {
	f := &windowFlags{}
	c := v.rule(rule{"update PROJECT ID", "Change what flags say of a window", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		i, err := windowAt(p, args[0])
		if err != nil {
			return false, err
		}
		w := &p.Spec.SyncWindows[i]
		changed := false
		set := func(name string, do func()) {
			if f.fs.Changed(name) {
				do()
				changed = true
			}
		}
		set("schedule", func() { w.Schedule = f.w.Schedule })
		set("duration", func() { w.Duration = f.w.Duration })
		set("applications", func() { w.Applications = f.w.Applications })
		set("namespaces", func() { w.Namespaces = f.w.Namespaces })
		set("clusters", func() { w.Clusters = f.w.Clusters })
		set("time-zone", func() { w.TimeZone = f.w.TimeZone })
		set("description", func() { w.Description = f.w.Description })
		if !changed {
			return false, fail.New("give --schedule, --duration, --applications, --namespaces, --clusters, --time-zone or --description", "cannot update: no flag says what")
		}
		return true, nil
	}})
	f.register(c.Flags(), false)
	return c
}

func (v *verbs) deleteWindow() *cobra.Command {
	return v.rule(rule{"delete PROJECT ID", "Delete a window", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		i, err := windowAt(p, args[0])
		if err != nil {
			return false, err
		}
		if v.d.PromptsEnabled() {
			ok, err := v.d.Console.Confirm(fmt.Sprintf("Are you sure you want to delete sync window %d of project '%s'? [y/n] ", i, p.Name))
			if err != nil || !ok {
				return false, err
			}
		}
		p.Spec.SyncWindows = append(p.Spec.SyncWindows[:i], p.Spec.SyncWindows[i+1:]...)
		return true, nil
	}})
}

func (v *verbs) switchWindow(name, short string, edit func(*v1alpha1.SyncWindow)) *cobra.Command {
	return v.rule(rule{name + " PROJECT ID", short, 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		i, err := windowAt(p, args[0])
		if err != nil {
			return false, err
		}
		edit(&p.Spec.SyncWindows[i])
		return true, nil
	}})
}

func (v *verbs) listWindows() *cobra.Command {
	var format string
	c := v.looking("list PROJECT", "List windows", 1, func(p *v1alpha1.AppProject, _ []string) error {
		if format != "wide" && format != "" {
			return output.List(v.d.Console.Out, format, p.Spec.SyncWindows)
		}
		table := [][]string{{
			"ID", "STATUS", "KIND", "SCHEDULE", "DURATION", "APPLICATIONS", "NAMESPACES", "CLUSTERS", "MANUALSYNC", "SYNCOVERRUN", "TIMEZONE", "USEANDOPERATOR",
		}}
		word := func(on bool) string {
			if on {
				return "Enabled"
			}
			return "Disabled"
		}
		names := func(all []string) string {
			if len(all) == 0 {
				return "-"
			}
			return strings.Join(all, ",")
		}
		for i := range p.Spec.SyncWindows {
			w := &p.Spec.SyncWindows[i]
			status := "Inactive"
			if len(window.ParseProject([]v1alpha1.SyncWindow{*w}).Active(v.d.Console.Clock.Now())) > 0 {
				status = "Active"
			}
			zone := w.TimeZone
			if zone == "" {
				zone = "UTC"
			}
			table = append(table, []string{
				strconv.Itoa(i), status, w.Kind, w.Schedule, w.Duration, names(w.Applications), names(w.Namespaces), names(w.Clusters),
				word(w.ManualSync), word(w.SyncOverrun), zone, word(w.UseAndOperator),
			})
		}
		return output.Table(v.d.Console.Out, table)
	})
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	return c
}
