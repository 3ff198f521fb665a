package manifest

import (
	"context"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// Description says what a revision is, for people: a commit, a chart or an
// artifact.
type Description struct {
	Commit *repo.Commit `json:"commit,omitempty"`
	// Signature says who signed the commit, and what that is worth.
	Signature string        `json:"signature,omitempty"`
	Chart     *ChartDetails `json:"chart,omitempty"`
	// Annotations are those of an OCI artifact.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// ChartDetails is what a chart says of itself (spec/api.md, chartdetails).
type ChartDetails struct {
	Version     string   `json:"version"`
	AppVersion  string   `json:"appVersion,omitempty"`
	Description string   `json:"description,omitempty"`
	Home        string   `json:"home,omitempty"`
	Maintainers []string `json:"maintainers,omitempty"`
}

// Describe says what a revision of a source is. Known are the keys that are
// believed.
func (s *Service) Describe(ctx context.Context, project string, src v1alpha1.ApplicationSource, revision string, known []signature.Key) (Description, error) {
	switch kindOf(src) {
	case repo.OCI:
		annotations, err := s.options.Fetcher.Annotations(ctx, s.chartRepository(src.RepoURL, project), revision)
		return Description{Annotations: annotations}, err
	case repo.Helm:
		return s.describeChart(ctx, project, src, revision)
	}
	commit, verdict, err := s.options.Mirrors.Commit(ctx, s.options.Repository(src.RepoURL, project), revision, known)
	if err != nil {
		return Description{}, err
	}
	return Description{Commit: &commit, Signature: verdict.String()}, nil
}

func (s *Service) describeChart(ctx context.Context, project string, src v1alpha1.ApplicationSource, revision string) (Description, error) {
	t, err := s.options.Fetcher.Chart(ctx, s.chart(project, src, revision))
	if err != nil {
		return Description{}, err
	}
	raw, err := t.ReadFile("Chart.yaml")
	if err != nil {
		return Description{}, fmt.Errorf("chart %s %s: %w", src.Chart, revision, err)
	}
	var c struct {
		ChartDetails
		Maintainers []struct{ Name, Email string } `json:"maintainers"`
	}
	if err := yaml.Unmarshal(raw, &c); err != nil {
		return Description{}, fmt.Errorf("chart %s %s: Chart.yaml: %w", src.Chart, revision, err)
	}
	out := c.ChartDetails
	for _, m := range c.Maintainers {
		text := m.Name
		if m.Email != "" {
			text += " <" + m.Email + ">"
		}
		out.Maintainers = append(out.Maintainers, text)
	}
	return Description{Chart: &out}, nil
}
