// Package stage holds the scripts by which kwok plays kubelets, load
// balancers, ingress controllers, volume provisioners and autoscalers.
//
// How a pod behaves is told by its annotation fleet.sluice.dev/behavior or,
// without one, by the tag of its first image: crash, never-ready, slow, fail
// and oom; anything else becomes Ready, or completes when a Job owns it.
package stage

import (
	"embed"
	"fmt"
	"io/fs"
	"os"

	"sigs.k8s.io/kwok/kustomize/stage/node/fast"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/config"
)

//go:embed stages/*.yaml
var shipped embed.FS

// Set is the stages by the kind they play.
type Set = map[internalversion.StageResourceRef][]*internalversion.Stage

// Load gives the shipped stages and those of the files.
func Load(files []string) (Set, error) {
	set := Set{}
	for _, text := range []string{fast.DefaultNodeInit, podfast.DefaultPodDelete} {
		if err := add(set, []byte(text), "built in"); err != nil {
			return nil, err
		}
	}
	names, err := fs.Glob(shipped, "stages/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("stages: %w", err)
	}
	for _, name := range names {
		content, err := shipped.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("stages: %w", err)
		}
		if err := add(set, content, name); err != nil {
			return nil, err
		}
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("stage file: %w", err)
		}
		if err := add(set, content, name); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func add(set Set, content []byte, name string) error {
	for _, doc := range documents(content) {
		s, err := config.UnmarshalWithType[*internalversion.Stage](doc)
		if err != nil {
			return fmt.Errorf("stage %s: %w", name, err)
		}
		set[s.Spec.ResourceRef] = append(set[s.Spec.ResourceRef], s)
	}
	return nil
}

// documents splits a YAML stream at its separators.
func documents(content []byte) []string {
	var out []string
	start := 0
	text := string(content)
	for i := 0; i+4 <= len(text); i++ {
		if text[i:i+4] == "---\n" && (i == 0 || text[i-1] == '\n') {
			if i > start {
				out = append(out, text[start:i])
			}
			start = i + 4
		}
	}
	if start < len(text) {
		out = append(out, text[start:])
	}
	return out
}
