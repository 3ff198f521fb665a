package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// commit is a tree of which only the id matters.
type commit struct {
	tree.Tree
	id string
}

func (c commit) Revision() string { return c.id }

func TestGeneratorsReadOnlyWhatIsSigned(t *testing.T) {
	read := func(context.Context, string, string, string, bool) (tree.Tree, error) { return commit{id: "abc"}, nil }
	projects := func(_ context.Context, name string) (*v1alpha1.AppProject, error) {
		switch name {
		case "lost":
			return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
		case "down":
			return nil, errors.New("no connection")
		}
		p := &v1alpha1.AppProject{}
		p.Name = name
		return p, nil
	}
	verify := func(_ context.Context, p *v1alpha1.AppProject, sources []v1alpha1.ApplicationSource, revisions []string, known []signature.Key) error {
		if sources[0].RepoURL != "https://host/x" || sources[0].TargetRevision != "main" || revisions[0] != "abc" || len(known) != 1 {
			t.Errorf("asked about %v at %v with %d keys", sources, revisions, len(known))
		}
		if p.Name == "strict" {
			return errors.New("is not signed")
		}
		return nil
	}
	get := signedTrees(read, projects, verify, func() []signature.Key { return make([]signature.Key, 1) })
	for project, want := range map[string]string{"": "", "lost": "", "open": "", "strict": "is not signed", "down": "no connection"} {
		got, err := get(t.Context(), project, "https://host/x", "main", false)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || (err == nil) != (got != nil) {
			t.Errorf("project %q: %v, %v; want %q", project, got, err, want)
		}
	}
}
