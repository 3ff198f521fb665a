package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/live"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/diff"
)

type diffFlags struct {
	namespace, revision             string
	local                           localFolder
	revisions, sourceNames          []string
	positions                       []int64
	refresh, hard, exit, serverSide bool
	code, concurrency, batch        int
	jq                              string
}

func (v *verbs) diff() *cobra.Command {
	f := &diffFlags{}
	c := &cobra.Command{Use: "diff APPNAME", Short: "Show where live state differs from what Git says", Args: command.ArgsExit(1, 1, fail.Usage), ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.StringVar(&f.revision, "revision", "", "compare with this revision")
	fs.StringArrayVar(&f.revisions, "revisions", nil, "revision of a source at --source-positions; may be repeated")
	fs.Int64SliceVar(&f.positions, "source-positions", nil, "sources that --revisions are for, counted from 1")
	fs.StringArrayVar(&f.sourceNames, "source-names", nil, "sources that --revisions are for, by name; may be repeated")
	f.local.register(fs, "compare with the manifests of this folder, which the server renders", "/")
	fs.StringArrayVar(&f.local.include, "local-include", []string{"*.yaml", "*.yml", "*.json"}, "names of the files of --local that are sent; when it is not given, all of them")
	fs.BoolVar(&f.refresh, "refresh", false, "compare again first")
	fs.BoolVar(&f.hard, "hard-refresh", false, "compare again first, ignoring what is cached")
	fs.BoolVar(&f.exit, "exit-code", true, "end with --diff-exit-code when there are differences")
	fs.IntVar(&f.code, "diff-exit-code", 1, "exit code when there are differences")
	fs.BoolVar(&f.serverSide, "server-side-diff", false, "accepted: the server always asks the cluster where it is not sure")
	fs.BoolVar(&f.local.whole, "server-side-generate", false, "accepted: the server always renders; --local may also name the root of the repository then")
	fs.IntVar(&f.concurrency, "server-side-diff-concurrency", -1, "accepted: the server bounds itself")
	fs.IntVar(&f.batch, "server-side-diff-max-batch-kb", 250, "accepted: the server bounds itself")
	fs.StringVar(&f.jq, "ignore-normalizer-jq-execution-timeout", "1s", "accepted: the server bounds itself")
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f.local.given(cmd.Flags())
		return v.runDiff(cmd.Context(), args[0], f)
	}
	return c
}

func (v *verbs) runDiff(ctx context.Context, arg string, f *diffFlags) error {
	if err := (&syncFlags{revisions: f.revisions, positions: f.positions, sourceNames: f.sourceNames}).validate(nil); err != nil {
		return err
	}
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	id := appID(arg, f.namespace)
	app, err := c.App(ctx, id, refreshOf(f.refresh, f.hard))
	if err != nil {
		return err
	}
	differences, err := v.differences(ctx, c, id, app, f)
	if err != nil {
		return err
	}
	if err := v.printDifferences(ctx, differences); err != nil {
		return err
	}
	if len(differences) > 0 && f.exit {
		return fail.Silent(f.code)
	}
	return nil
}

// difference is an object that is not as Git says; one side may be nil.
type difference struct {
	key
	live, target *unstructured.Unstructured
}

// differences finds the objects that differ, sorted as scripts expect them.
func (v *verbs) differences(ctx context.Context, c *client.Client, id client.App, app *v1alpha1.Application, f *diffFlags) ([]difference, error) {
	managed, err := c.Managed(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []difference
	switch {
	case f.local.dir != "":
		var texts []string
		if texts, err = v.render(ctx, c, app, f.local); err == nil {
			out, err = v.against(ctx, app, managed, texts)
		}
	case f.revision != "" || len(f.revisions) > 0:
		var at []int64
		if at, err = positionsOf(app, f.sourceNames, f.positions); err != nil {
			return nil, err
		}
		var texts []string
		if texts, err = c.Manifests(ctx, id, client.ManifestQuery{Revision: f.revision, Revisions: f.revisions, Positions: at}); err == nil {
			out, err = v.against(ctx, app, managed, texts)
		}
	default:
		out, err = stated(managed)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b difference) int {
		name := func(d difference) string { return d.group + "/" + d.kind + "/" + d.namespace + "/" + d.name }
		return strings.Compare(name(a), name(b))
	})
	return out, nil
}

// stated are the differences that the server has found.
func stated(managed []client.ManagedResource) ([]difference, error) {
	var out []difference
	for i := range managed {
		m := &managed[i]
		if m.Hook {
			continue
		}
		live, err := decode(m.NormalizedLiveState, m.LiveState)
		if err != nil {
			return nil, err
		}
		target, err := decode(m.PredictedLiveState, m.TargetState)
		if err != nil {
			return nil, err
		}
		d := difference{key{m.Group, m.Kind, m.Namespace, m.Name}, live, target}
		switch {
		case live == nil && target == nil, live != nil && target != nil && !m.Modified, target == nil && keepsPruned(live):
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

// keepsPruned says that an object that Git no longer has stays.
func keepsPruned(live *unstructured.Unstructured) bool {
	options := strings.Split(live.GetAnnotations()[v1alpha1.AnnotationSyncOptions], ",")
	for i := range options {
		options[i] = strings.TrimSpace(options[i])
	}
	ignored := strings.Split(live.GetAnnotations()[v1alpha1.AnnotationCompareOptions], ",")
	return slices.Contains(options, "Prune=false") || slices.Contains(ignored, "IgnoreExtraneous")
}

// decode reads the first state that holds an object.
func decode(states ...string) (*unstructured.Unstructured, error) {
	for _, text := range states {
		if text == "" || text == "null" {
			continue
		}
		var o unstructured.Unstructured
		if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
			return nil, fmt.Errorf("the server sends a state that is no object: %w", err)
		}
		return &o, nil
	}
	return nil, nil //nolint:nilnil // there is none
}

// against compares live state with manifests that the server does not compare
// by itself: those of another revision or of a local folder.
func (v *verbs) against(ctx context.Context, app *v1alpha1.Application, managed []client.ManagedResource, manifests []string) ([]difference, error) {
	c, err := v.d.Client(ctx)
	if err != nil {
		return nil, err
	}
	id := client.App{Namespace: app.Namespace, Name: app.Name}
	targets := map[key]*unstructured.Unstructured{}
	for _, text := range manifests {
		o, err := decode(text)
		if err != nil {
			return nil, err
		}
		if o == nil || o.GetAnnotations()["argocd.argoproj.io/hook"] != "" || o.GetAnnotations()["helm.sh/hook"] != "" {
			continue
		}
		targets[objectKey(o)] = o
	}
	var out []difference
	for i := range managed {
		m := &managed[i]
		k := key{m.Group, m.Kind, m.Namespace, m.Name}
		target := take(targets, k, app.Spec.Destination.Namespace)
		live, err := decode(m.LiveState)
		if err != nil {
			return nil, err
		}
		switch {
		case m.Hook, live == nil && target == nil, target == nil && keepsPruned(live):
			continue
		case k.kind == "Secret" && k.group == "":
			v.d.Log("warn", "Secret "+k.namespace+"/"+k.name+" is left out: its values are masked and cannot be compared")
			continue
		}
		d, err := v.compared(ctx, compare{key: k, client: c, id: id, target: target, live: live})
		if err != nil {
			return nil, err
		}
		if d != nil {
			out = append(out, *d)
		}
	}
	for k, target := range targets {
		if k.kind == "Secret" && k.group == "" {
			continue
		}
		out = append(out, difference{k, nil, target})
	}
	return out, nil
}

func objectKey(o *unstructured.Unstructured) key {
	gvk := o.GroupVersionKind()
	return key{gvk.Group, gvk.Kind, o.GetNamespace(), o.GetName()}
}

// take finds the target of an object; one without a namespace gets that of the
// destination.
func take(targets map[key]*unstructured.Unstructured, k key, namespace string) *unstructured.Unstructured {
	bare := k
	bare.namespace = ""
	for _, candidate := range []key{k, bare} {
		if o, ok := targets[candidate]; ok && (candidate == k || k.namespace == namespace) {
			delete(targets, candidate)
			o.SetNamespace(k.namespace)
			return o
		}
	}
	return nil
}

// maxPredicted bounds the size of an object that is sent to ask about it: it
// travels in a URL.
const maxPredicted = 16 << 10

// compared is the difference of one object; nil when there is none. The cluster
// is asked what an apply would change; where that is not possible, the fields
// of the target are laid over what is there.
func (v *verbs) compared(ctx context.Context, o compare) (*difference, error) {
	if o.target == nil || o.live == nil {
		return &difference{o.key, o.live, o.target}, nil
	}
	predicted, err := o.predict(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.kind, o.name, err)
	}
	r, err := diff.Compare(ctx, diff.Input{Desired: o.target, Live: o.live, Predicted: predicted})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.kind, o.name, err)
	}
	if !r.Modified {
		return nil, nil //nolint:nilnil // they are equal
	}
	return &difference{o.key, r.Live, r.Predicted}, nil
}

// compare is one object to compare.
type compare struct {
	key
	client       *client.Client
	id           client.App
	target, live *unstructured.Unstructured
}

func (o compare) predict(ctx context.Context) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(o.target.Object)
	if err != nil {
		return nil, err
	}
	if len(raw) <= maxPredicted {
		if m, err := o.client.Predict(ctx, o.id, string(raw)); err == nil {
			if predicted, err := decode(m.PredictedLiveState); err == nil && predicted != nil {
				return predicted, nil
			}
		}
	}
	return diff.Project(o.target, o.live, managedfields.NewDeducedTypeConverter())
}

// printDifferences prints every difference below its heading.
func (v *verbs) printDifferences(ctx context.Context, all []difference) error {
	for _, d := range all {
		v.d.Console.Printf("\n===== %s/%s %s/%s ======\n", d.group, d.kind, d.namespace, d.name)
		before, err := document(d.live)
		if err != nil {
			return err
		}
		after, err := document(d.target)
		if err != nil {
			return err
		}
		if program := v.d.Console.Getenv("KUBECTL_EXTERNAL_DIFF"); program != "" {
			if err := external(ctx, v.d.Console, program, d.name, [2]string{before, after}); err != nil {
				return err
			}
			continue
		}
		if v.d.Console.OutTerminal {
			v.d.Console.Printf("%s", output.Unified(before, after, paintDiff))
		} else {
			v.d.Console.Printf("%s", output.Normal(before, after))
		}
	}
	return nil
}

func paintDiff(mark byte, line string) string {
	line = output.Clean(line)
	return live.Paint(map[byte]string{'-': live.Red, '+': live.Green, '@': live.Blue}[mark], line)
}

func document(o *unstructured.Unstructured) (string, error) {
	if o == nil {
		return "", nil
	}
	raw, err := yaml.Marshal(o.Object)
	return string(raw), err
}

// external runs the differ of the user; it is no shell that reads its words.
func external(ctx context.Context, c *console.Console, program, name string, states [2]string) error {
	words, err := console.Words(program)
	if err != nil || len(words) == 0 {
		return fail.Fatal("KUBECTL_EXTERNAL_DIFF=%q is no command", program)
	}
	dir, err := os.MkdirTemp("", "sluice-diff-") // mode 0700
	if err != nil {
		return fmt.Errorf("diff: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	base := filepath.Base(filepath.Clean("/" + name))
	files := []string{filepath.Join(dir, base+"-live.yaml"), filepath.Join(dir, base)}
	for i, f := range files {
		if err := os.WriteFile(f, []byte(states[i]), 0o600); err != nil {
			return fmt.Errorf("diff: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], files...)...) //nolint:gosec // the user's own differ
	cmd.Stdout, cmd.Stderr = c.Out, c.Err
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return fail.Fatal("KUBECTL_EXTERNAL_DIFF: %s: %w", words[0], err)
	}
	return nil
}
