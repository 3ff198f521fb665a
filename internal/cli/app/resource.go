package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) resources() *cobra.Command {
	var namespace, format, project string
	var orphaned bool
	c := &cobra.Command{Use: "resources APPNAME", Short: "List the objects of an Application, and those that nobody manages", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().BoolVar(&orphaned, "orphaned", false, "only objects that nobody manages")
	c.Flags().StringVarP(&format, "output", "o", "", "tree, tree=detailed, json or yaml; empty is a table")
	c.Flags().StringVar(&project, "project", "", "project of the Application")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		id := appID(args[0], namespace)
		id.Project = project
		tree, err := c.Tree(cmd.Context(), id)
		if err != nil {
			return err
		}
		return v.printResources(tree, orphaned, format)
	}
	return c
}

func (v *verbs) printResources(tree *client.Tree, orphaned bool, format string) error {
	now := v.d.Console.Clock.Now()
	table := [][]string{{"GROUP", "KIND", "NAMESPACE", "NAME", "ORPHANED"}}
	switch format {
	case "", "wide", "tree":
	case "tree=detailed":
		table[0] = append(table[0], "AGE", "HEALTH", "REASON")
	case "json", "yaml":
		if orphaned {
			tree.Nodes = nil
		}
		return output.Object(v.d.Console.Out, format, tree)
	default:
		return output.Unknown(format)
	}
	for _, part := range []struct {
		nodes []client.Node
		word  string
	}{{tree.Nodes, "No"}, {tree.OrphanedNodes, "Yes"}} {
		if orphaned && part.word == "No" {
			continue
		}
		for _, b := range branches(part.nodes) {
			n := b.node
			row := []string{n.Group, n.Kind, n.Namespace, n.Name, part.word}
			if strings.HasPrefix(format, "tree") {
				row[0] = b.glyphs + n.Group
			}
			if format == "tree=detailed" {
				health, _ := healthOf(n)
				row = append(row, age(n, now), health, infoOf(n, "Status Reason"))
			}
			table = append(table, row)
		}
	}
	return output.Table(v.d.Console.Out, table)
}

// objectFlags choose live objects of an Application.
type objectFlags struct {
	group, kind, namespace, name, project, appNamespace string
	all                                                 bool
}

func (v *verbs) objectFlags(c *cobra.Command, f *objectFlags, all bool) {
	fs := c.Flags()
	fs.StringVar(&f.group, "group", "", "API group of the object")
	fs.StringVar(&f.kind, "kind", "", "kind of the object")
	fs.StringVar(&f.namespace, "namespace", "", "namespace of the object")
	fs.StringVar(&f.name, "resource-name", "", "name of the object")
	fs.StringVar(&f.project, "project", "", "project of the Application")
	if all {
		fs.BoolVar(&f.all, "all", false, "all objects that fit, not exactly one")
	}
	v.namespaceFlag(c, &f.appNamespace)
}

// find finds the live objects that flags choose.
func (v *verbs) find(ctx context.Context, c *client.Client, id client.App, f *objectFlags) ([]client.ResourceRef, error) {
	if f.kind == "" {
		return nil, fail.Fatal("--kind is missing: say which kind of object is meant")
	}
	tree, err := c.Tree(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []client.ResourceRef
	groups := map[string]bool{}
	for i := range tree.Nodes {
		r := tree.Nodes[i].ResourceRef
		if !strings.EqualFold(r.Kind, f.kind) || f.name != "" && r.Name != f.name || f.namespace != "" && r.Namespace != f.namespace || f.group != "" && r.Group != f.group {
			continue
		}
		out = append(out, r)
		groups[r.Group] = true
	}
	switch {
	case len(out) == 0:
		return nil, fail.New(v.d.Console.Name+" app resources "+id.Name, "No matching resource found: application %s has no %s", id.Name, strings.TrimSpace(f.kind+" "+f.name))
	case len(groups) > 1:
		return nil, fail.Fatal("Ambiguous resource kind. Use flag --group to resolve the ambiguity")
	case len(out) > 1 && !f.all:
		return nil, fail.Fatal("Multiple resources match inputs. Use flag --all to act on all %d, or --namespace and --resource-name to choose one", len(out))
	}
	return out, nil
}

func (v *verbs) patchResource() *cobra.Command {
	f := &objectFlags{}
	var patch, kind string
	c := &cobra.Command{Use: "patch-resource APPNAME", Short: "Patch a live object", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVar(&patch, "patch", "", "the patch")
	c.Flags().StringVar(&kind, "patch-type", "application/merge-patch+json", "application/merge-patch+json, application/json-patch+json or application/strategic-merge-patch+json")
	v.objectFlags(c, f, true)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if patch == "" {
			return fail.Fatal("--patch is missing: say what to change")
		}
		return v.each(cmd.Context(), args[0], f, "patched", func(c *client.Client, id client.App, r client.ResourceRef) error {
			_, err := c.PatchResource(cmd.Context(), id, r, patch, kind)
			return err
		})
	}
	return c
}

func (v *verbs) deleteResource() *cobra.Command {
	f := &objectFlags{}
	var how client.Deletion
	c := &cobra.Command{Use: "delete-resource APPNAME", Short: "Delete a live object", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().BoolVar(&how.Force, "force", false, "delete in the background, without grace")
	c.Flags().BoolVar(&how.Orphan, "orphan", false, "leave what the object owns")
	v.objectFlags(c, f, true)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return v.each(cmd.Context(), args[0], f, "deleted", func(c *client.Client, id client.App, r client.ResourceRef) error {
			return c.DeleteResource(cmd.Context(), id, r, how)
		})
	}
	return c
}

// each does something with every object that flags choose.
func (v *verbs) each(ctx context.Context, arg string, f *objectFlags, done string, do func(*client.Client, client.App, client.ResourceRef) error) error {
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	id := appID(arg, f.appNamespace)
	id.Project = f.project
	all, err := v.find(ctx, c, id, f)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := do(c, id, r); err != nil {
			return err
		}
		v.d.Log("info", fmt.Sprintf("Resource '%s' %s", r.Name, done))
	}
	return nil
}

func (v *verbs) getResource() *cobra.Command {
	f := &objectFlags{all: true}
	var format string
	var fields []string
	var managed bool
	c := &cobra.Command{Use: "get-resource APPNAME", Short: "Print live objects", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	v.objectFlags(c, f, false)
	c.Flags().StringSliceVar(&fields, "filter-fields", nil, "only these fields, such as spec.replicas")
	c.Flags().BoolVar(&managed, "show-managed-fields", false, "also print metadata.managedFields")
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		id := appID(args[0], f.appNamespace)
		id.Project = f.project
		all, err := v.find(cmd.Context(), c, id, f)
		if err != nil {
			return err
		}
		var objects []map[string]any
		for _, r := range all {
			text, err := c.Resource(cmd.Context(), id, r)
			if err != nil {
				return err
			}
			var o map[string]any
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				return fmt.Errorf("%s %s: %w", r.Kind, r.Name, err)
			}
			if meta, ok := o["metadata"].(map[string]any); ok && !managed {
				delete(meta, "managedFields")
			}
			objects = append(objects, only(o, fields))
		}
		return v.printObjects(objects, all, format)
	}
	return c
}

func (v *verbs) printObjects(objects []map[string]any, refs []client.ResourceRef, format string) error {
	switch format {
	case "json", "yaml":
		if len(objects) == 1 {
			return output.Object(v.d.Console.Out, format, objects[0])
		}
		return output.List(v.d.Console.Out, format, objects)
	case "wide", "":
	default:
		return output.Unknown(format)
	}
	if len(objects) == 1 {
		return output.Table(v.d.Console.Out, append([][]string{{"FIELD", "VALUE"}}, flat(objects[0])...))
	}
	table := [][]string{{"FIELD", "RESOURCE NAME", "VALUE"}}
	for i, o := range objects {
		for _, row := range flat(o) {
			table = append(table, []string{row[0], refs[i].Name, row[1]})
		}
	}
	return output.Table(v.d.Console.Out, table)
}

// flat lists the leaves of an object by their paths.
func flat(o map[string]any) [][]string {
	var out [][]string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch x := v.(type) {
		case map[string]any:
			keys := make([]string, 0, len(x))
			for k := range x {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				walk(strings.TrimPrefix(path+"."+k, "."), x[k])
			}
		case []any:
			for i, e := range x {
				walk(fmt.Sprintf("%s[%d]", path, i), e)
			}
		default:
			out = append(out, []string{path, fmt.Sprint(x)})
		}
	}
	walk("", o)
	return out
}

// only keeps some fields of an object; no fields keep all.
func only(o map[string]any, fields []string) map[string]any {
	if len(fields) == 0 {
		return o
	}
	out := map[string]any{}
	for _, f := range fields {
		path := strings.Split(strings.Trim(strings.ReplaceAll(strings.ReplaceAll(f, "[", "."), "]", ""), "."), ".")
		copyPath(o, out, path)
	}
	return out
}

// copyPath copies what is at a path; a list on the way keeps its elements.
func copyPath(from, to map[string]any, path []string) {
	v, ok := from[path[0]]
	if !ok {
		return
	}
	next, isMap := v.(map[string]any)
	if len(path) == 1 || !isMap {
		to[path[0]] = v
		return
	}
	below, _ := to[path[0]].(map[string]any)
	if below == nil {
		below = map[string]any{}
		to[path[0]] = below
	}
	copyPath(next, below, path[1:])
}

// labelled are the objects of what Git says that have the labels.
func (v *verbs) labelled(ctx context.Context, c *client.Client, id client.App, labels []string) ([]client.SyncResource, error) {
	want, err := command.Pairs(labels, "--label")
	if err != nil {
		return nil, fail.Fatal("%w", err)
	}
	managed, err := c.Managed(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []client.SyncResource
	for i := range managed {
		m := &managed[i]
		target, err := decode(m.TargetState)
		if err != nil {
			return nil, err
		}
		if target == nil {
			continue
		}
		has := target.GetLabels()
		fits := true
		for k, value := range want {
			fits = fits && has[k] == value
		}
		if fits {
			out = append(out, client.SyncResource{Group: m.Group, Kind: m.Kind, Namespace: m.Namespace, Name: m.Name})
		}
	}
	if len(out) == 0 {
		return nil, &fail.Error{Code: fail.Failure, Err: errors.New("No matching resources found for labels: " + strings.Join(labels, ","))}
	}
	return out, nil
}
