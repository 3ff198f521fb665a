package rendercase_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/test/rendercase"
)

// oracles builds the programs that are pinned in the module test/oracle.
func oracles(t *testing.T) (helm, kustomize string) {
	t.Helper()
	dir, err := filepath.Abs("../../build/oracle")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-C", "../oracle", "-o", dir+"/", "tool")
	cmd.Env = append(os.Environ(), "GOFLAGS=-p=2")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the oracles: %v\n%s", err, out)
	}
	return filepath.Join(dir, "helm"), filepath.Join(dir, "kustomize")
}

// program runs an oracle in a folder.
type program struct {
	path, dir string
	env       []string
}

func (p program) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(p.path), strings.Join(args, " "), err, errors.String())
	}
	return out.String(), nil
}

// TestOracles compares our output with that of "helm template" and
// "kustomize build" of the same versions, object by object and in order.
func TestOracles(t *testing.T) {
	helm, kustomize := oracles(t)
	var files []string
	for _, pattern := range []string{"testdata/*.txtar", "../../internal/adapter/render/testdata/helm*.txtar", "../../internal/adapter/render/testdata/kustomize*.txtar"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	compared := 0
	for _, file := range files {
		own := strings.HasPrefix(file, "testdata/")
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			_, request, err := rendercase.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			ours, ourErr := render.Render(t.Context(), request)
			if !own && (ourErr != nil || needsUs(request)) {
				return // refused by us alone, or an option that the programs do not have
			}
			dir := t.TempDir()
			for name, content := range request.Tree.(rendercase.Files) {
				at := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			env := []string{"HOME=" + t.TempDir(), "PATH=/nowhere"}
			var text string
			if ours.Type == render.TypeHelm {
				text, err = template(t.Context(), program{helm, dir, env}, request)
			} else {
				text, err = build(t.Context(), program{kustomize, filepath.Join(dir, request.Source.Path), env}, request)
			}
			if !own && err != nil && strings.Contains(err.Error(), "dependency build") {
				return // helm insists on a repository even for what is vendored
			}
			if (err != nil) != (ourErr != nil) {
				t.Fatalf("the program says %v, we say %v", err, ourErr)
			}
			compared++
			if err != nil {
				return
			}
			want, err := render.Decode([]byte(text), "oracle")
			if err != nil {
				t.Fatalf("output of the program: %v\n%s", err, text)
			}
			var a, b []string
			for _, o := range want {
				a = append(a, canonical(t, o.Object))
			}
			for _, o := range ours.Objects {
				b = append(b, canonical(t, o.Object))
			}
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("differs from the program (-program +ours):\n%s", diff)
			}
		})
	}
	if compared < 80 {
		t.Errorf("only %d cases were compared", compared)
	}
}

// needsUs says that a case has what only an Application can have.
func needsUs(r render.Request) bool {
	files := r.Tree.(rendercase.Files)
	_, override := files[r.Source.Path+"/.argocd-source.yaml"]
	h, k := r.Source.Helm, r.Source.Kustomize
	special := func(text string) bool { return strings.ContainsAny(text, "*$[") || strings.Contains(text, "://") }
	return override || len(r.Refs) > 0 || r.Settings.Kustomize.Helm ||
		h != nil && (h.IgnoreMissingValueFiles || slices.ContainsFunc(h.ValueFiles, special) || slices.ContainsFunc(h.Parameters, func(p v1alpha1.HelmParameter) bool { return special(p.Value) })) ||
		k != nil
}

func canonical(t *testing.T, o map[string]any) string {
	t.Helper()
	raw, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// template runs "helm template" with the options of a source, as the
// reference does (spec/application.md §2.4).
func template(ctx context.Context, p program, r render.Request) (string, error) {
	h := r.Source.Helm
	if h == nil {
		h = &v1alpha1.SourceHelm{}
	}
	name, namespace, version := r.App.Name, r.App.Namespace, r.KubeVersion
	if h.ReleaseName != "" {
		name = h.ReleaseName
	}
	if h.Namespace != "" {
		namespace = h.Namespace
	}
	if h.KubeVersion != "" {
		version = h.KubeVersion
	}
	args := []string{"template", name, "./" + r.Source.Path, "--namespace", namespace, "--kube-version", version}
	versions := h.APIVersions
	if len(versions) == 0 {
		versions = r.APIVersions
	}
	for _, v := range versions {
		args = append(args, "--api-versions", v)
	}
	for flag, on := range map[string]bool{"--include-crds": !h.SkipCrds, "--skip-tests": h.SkipTests, "--skip-schema-validation": h.SkipSchemaValidation} {
		if on {
			args = append(args, flag)
		}
	}
	for _, f := range h.ValueFiles {
		if rest, fromRoot := strings.CutPrefix(f, "/"); fromRoot {
			args = append(args, "--values", rest)
		} else {
			args = append(args, "--values", filepath.Join(r.Source.Path, f))
		}
	}
	inline := []byte(h.Values)
	if h.ValuesObject != nil {
		inline = h.ValuesObject.Raw
	}
	if len(inline) > 0 {
		if err := os.WriteFile(filepath.Join(p.dir, "inline.yaml"), inline, 0o600); err != nil {
			return "", err
		}
		args = append(args, "--values", "inline.yaml")
	}
	for _, one := range h.Parameters {
		flag, value := "--set", one.Value
		if one.ForceString {
			flag = "--set-string"
		}
		if !strings.HasPrefix(value, "{") {
			value = strings.ReplaceAll(value, ",", `\,`)
		}
		args = append(args, flag, one.Name+"="+value)
	}
	for _, one := range h.FileParameters {
		args = append(args, "--set-file", one.Name+"="+filepath.Join(r.Source.Path, one.Path))
	}
	out, err := p.run(ctx, args...)
	if err != nil && strings.Contains(err.Error(), "missing in charts") {
		if _, err := p.run(ctx, "dependency", "build", "./"+r.Source.Path); err != nil {
			return "", err
		}
		out, err = p.run(ctx, args...)
	}
	return out, err
}

// build runs the edits of an Application and then "kustomize build".
func build(ctx context.Context, p program, r render.Request) (string, error) {
	for _, args := range edits(r.Source.Kustomize) {
		if _, err := p.run(ctx, append([]string{"edit"}, args...)...); err != nil {
			return "", err
		}
	}
	if k := r.Source.Kustomize; k != nil && len(k.Patches) > 0 {
		if err := addPatches(filepath.Join(p.dir, "kustomization.yaml"), k.Patches); err != nil {
			return "", err
		}
	}
	return p.run(ctx, "build", ".")
}

func edits(k *v1alpha1.SourceKustomize) (all [][]string) {
	if k == nil {
		return nil
	}
	add := func(args ...string) { all = append(all, args) }
	if k.NamePrefix != "" {
		add("set", "nameprefix", "--", k.NamePrefix)
	}
	if k.NameSuffix != "" {
		add("set", "namesuffix", "--", k.NameSuffix)
	}
	if len(k.Images) > 0 {
		add(append([]string{"set", "image"}, k.Images...)...)
	}
	for _, one := range k.Replicas {
		add("set", "replicas", one.Name+"="+one.Count.String())
	}
	labels := []string{"add", "label"}
	if k.LabelWithoutSelector {
		labels = append(labels, "--without-selector")
	}
	if k.LabelIncludeTemplates {
		labels = append(labels, "--include-templates")
	}
	for key, value := range k.CommonLabels {
		add(append(slices.Clone(labels), key+":"+value)...)
	}
	for key, value := range k.CommonAnnotations {
		add("add", "annotation", key+":"+value)
	}
	if k.Namespace != "" {
		add("set", "namespace", "--", k.Namespace)
	}
	for _, c := range k.Components {
		add("add", "component", c)
	}
	return all
}

// addPatches appends to the field patches, as the reference does.
func addPatches(file string, patches []v1alpha1.KustomizePatch) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var k map[string]any
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return err
	}
	list, _ := k["patches"].([]any)
	for _, p := range patches {
		list = append(list, p)
	}
	k["patches"] = list
	if raw, err = yaml.Marshal(k); err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}
