package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// maxListed bounds the charts that a listing gives.
const maxListed = 10_000

// Charts are the charts of a Helm repository by name, with their versions in
// the order of the index.
func (f *Fetcher) Charts(ctx context.Context, r repo.Repository) (map[string][]string, error) {
	if IsOCI(r) {
		return nil, errors.New("a registry does not list its charts: name one")
	}
	file, err := f.index(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("repository %s: index.yaml: %w", repo.Redact(r.URL), err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", repo.Redact(r.URL), err)
	}
	if info.Size() > maxParsedIndex {
		return nil, fmt.Errorf("repository %s: index.yaml has more than %d bytes: name a chart", repo.Redact(r.URL), maxParsedIndex)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", repo.Redact(r.URL), err)
	}
	var index struct {
		Entries map[string][]struct {
			Version string `json:"version"`
		} `json:"entries"`
	}
	if err := yaml.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("repository %s: index.yaml is no YAML", repo.Redact(r.URL))
	}
	out := map[string][]string{}
	for name, versions := range index.Entries {
		if len(out) == maxListed {
			break
		}
		for _, v := range versions {
			out[name] = append(out[name], v.Version)
		}
	}
	return out, nil
}

// Tags are those of an OCI repository.
func (f *Fetcher) Tags(ctx context.Context, r repo.Repository) ([]string, error) {
	if !IsOCI(r) {
		return nil, fmt.Errorf("repository %s is none of a registry", repo.Redact(r.URL))
	}
	return f.tags(ctx, r, strings.TrimSuffix(strings.TrimPrefix(r.URL, "oci://"), "/"))
}

// Test says whether a Helm repository or a registry can be read. Charts of a
// registry are declared by what stands before their names, of which the registry
// may know nothing: that it answers is enough. An artifact (oci://) must be there.
func (f *Fetcher) Test(ctx context.Context, r repo.Repository) error {
	f.Refresh(r)
	if IsOCI(r) {
		_, err := f.Tags(ctx, r)
		if errors.Is(err, errAbsent) && !strings.HasPrefix(r.URL, "oci://") {
			return nil
		}
		return err
	}
	_, err := f.index(ctx, r)
	return err
}
