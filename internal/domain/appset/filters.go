package appset

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// maxExpression bounds a regular expression of a filter, in bytes.
const maxExpression = 4 << 10

// RepositoryFilters choose repositories and then branches
// (spec/applicationset.md §3.6): filters with a condition on a branch or a path
// judge branches, the others repositories; one of each kind must hold.
type RepositoryFilters struct{ repositories, branches []repositoryFilter }

type repositoryFilter struct {
	repository, label, branch *regexp.Regexp
	exist, absent             []string
}

// CompileRepositoryFilters reads filters; the error names the one that is
// malformed.
func CompileRepositoryFilters(in []v1alpha1.SCMFilter) (*RepositoryFilters, error) {
	out := &RepositoryFilters{}
	for i, f := range in {
		at := fmt.Sprintf("filters[%d].", i)
		next := repositoryFilter{exist: f.PathsExist, absent: f.PathsDoNotExist}
		for _, c := range []struct {
			field string
			text  *string
			into  **regexp.Regexp
		}{{"repositoryMatch", f.RepositoryMatch, &next.repository}, {"labelMatch", f.LabelMatch, &next.label}, {"branchMatch", f.BranchMatch, &next.branch}} {
			var err error
			if *c.into, err = expression(at+c.field, c.text); err != nil {
				return nil, err
			}
		}
		switch {
		case next.branch != nil || len(next.exist) > 0 || len(next.absent) > 0:
			out.branches = append(out.branches, next)
		case next.repository != nil || next.label != nil:
			out.repositories = append(out.repositories, next)
		}
	}
	return out, nil
}

// expression compiles an unanchored regular expression; nil when there is none.
func expression(field string, text *string) (*regexp.Regexp, error) {
	if text == nil {
		return nil, nil
	}
	if len(*text) > maxExpression {
		return nil, fmt.Errorf("%s is %d bytes long, at most %d are allowed", field, len(*text), maxExpression)
	}
	r, err := regexp.Compile(*text)
	if err != nil {
		return nil, fmt.Errorf("%s: %q is not a regular expression: %w", field, *text, err)
	}
	return r, nil
}

// Repository says whether a repository is chosen, whatever its branches.
func (f *RepositoryFilters) Repository(r Repository) bool {
	return len(f.repositories) == 0 || slices.ContainsFunc(f.repositories, func(one repositoryFilter) bool { return one.repositoryHolds(r) })
}

// Branch says whether a branch of a chosen repository is chosen; exists tells
// whether the branch has a file or folder.
func (f *RepositoryFilters) Branch(r Repository, exists func(path string) (bool, error)) (bool, error) {
	if len(f.branches) == 0 {
		return true, nil
	}
	for _, one := range f.branches {
		holds, err := one.branchHolds(r, exists)
		if holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}

func (f repositoryFilter) repositoryHolds(r Repository) bool {
	return (f.repository == nil || f.repository.MatchString(r.Name)) && (f.label == nil || slices.ContainsFunc(r.Labels, f.label.MatchString))
}

func (f repositoryFilter) branchHolds(r Repository, exists func(path string) (bool, error)) (bool, error) {
	if !f.repositoryHolds(r) || f.branch != nil && !f.branch.MatchString(r.Branch) {
		return false, nil
	}
	for _, check := range []struct {
		paths  []string
		wanted bool
	}{{f.exist, true}, {f.absent, false}} {
		for _, p := range check.paths {
			found, err := exists(strings.TrimRight(p, "/"))
			if err != nil {
				return false, fmt.Errorf("path %s: %w", p, err)
			}
			if found != check.wanted {
				return false, nil
			}
		}
	}
	return true, nil
}

// PullRequestFilters choose pull requests: one of them must hold
// (spec/applicationset.md §3.7).
type PullRequestFilters struct{ all []pullRequestFilter }

type pullRequestFilter struct{ branch, target, title *regexp.Regexp }

// CompilePullRequestFilters reads filters; the error names the one that is
// malformed.
func CompilePullRequestFilters(in []v1alpha1.PullRequestFilter) (*PullRequestFilters, error) {
	out := &PullRequestFilters{}
	for i, f := range in {
		at := fmt.Sprintf("filters[%d].", i)
		var next pullRequestFilter
		for _, c := range []struct {
			field string
			text  *string
			into  **regexp.Regexp
		}{{"branchMatch", f.BranchMatch, &next.branch}, {"targetBranchMatch", f.TargetBranchMatch, &next.target}, {"titleMatch", f.TitleMatch, &next.title}} {
			var err error
			if *c.into, err = expression(at+c.field, c.text); err != nil {
				return nil, err
			}
		}
		out.all = append(out.all, next)
	}
	return out, nil
}

// Chooses says whether a pull request is chosen.
func (f *PullRequestFilters) Chooses(r PullRequest) bool {
	return len(f.all) == 0 || slices.ContainsFunc(f.all, func(one pullRequestFilter) bool {
		return (one.branch == nil || one.branch.MatchString(r.Branch)) && (one.target == nil || one.target.MatchString(r.TargetBranch)) &&
			(one.title == nil || one.title.MatchString(r.Title))
	})
}
