package proj

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) integrity() *cobra.Command {
	return command.Group("source-integrity", "Manage which sources must be signed",
		command.Group("git", "Of Git repositories", command.Group("policies", "Policies, in the order in which they are looked at",
			v.addPolicy(), v.listPolicies(), v.updatePolicy(), v.deletePolicy())))
}

// policyFlags describe a policy.
type policyFlags struct {
	mode                                            string
	keys, repos, addKeys, addRepos, noKeys, noRepos []string
	yes                                             bool
}

func (f *policyFlags) checkMode() error {
	switch f.mode {
	case "", "strict", "head", "none":
		return nil
	}
	return fail.New("use strict, head or none", "--gpg-mode %q is not known", f.mode)
}

func urls(all []string) []v1alpha1.SourceIntegrityRepo {
	var out []v1alpha1.SourceIntegrityRepo
	for _, u := range all {
		out = append(out, v1alpha1.SourceIntegrityRepo{URL: u})
	}
	return out
}

func policies(p *v1alpha1.AppProject) *[]v1alpha1.SourceIntegrityGitPolicy {
	if p.Spec.SourceIntegrity == nil {
		p.Spec.SourceIntegrity = &v1alpha1.SourceIntegrity{}
	}
	if p.Spec.SourceIntegrity.Git == nil {
		p.Spec.SourceIntegrity.Git = &v1alpha1.SourceIntegrityGit{}
	}
	return &p.Spec.SourceIntegrity.Git.Policies
}

func (v *verbs) addPolicy() *cobra.Command {
	f := &policyFlags{}
	c := v.rule(rule{"add PROJECT", "Add a policy", 1, 1, func(p *v1alpha1.AppProject, _ []string) (bool, error) {
		if err := f.checkMode(); err != nil {
			return false, err
		}
		if len(f.repos) == 0 {
			return false, fail.New("add --repo-url '*'", "--repo-url is missing: say which repositories the policy is for")
		}
		all := policies(p)
		*all = append(*all, v1alpha1.SourceIntegrityGitPolicy{Repos: urls(f.repos), GPG: &v1alpha1.SourceIntegrityGPG{Mode: f.mode, Keys: f.keys}})
		return true, nil
	}})
	c.Flags().StringVar(&f.mode, "gpg-mode", "strict", "strict: every commit, head: the newest, none")
	c.Flags().StringSliceVar(&f.keys, "gpg-key", nil, "key that may sign; may be repeated")
	c.Flags().StringSliceVar(&f.repos, "repo-url", nil, "glob of repositories, ! leaves out; may be repeated")
	return c
}

func (v *verbs) listPolicies() *cobra.Command {
	var format string
	c := v.looking("list PROJECT", "List policies", 1, func(p *v1alpha1.AppProject, _ []string) error {
		all := *policies(p)
		if format != "wide" && format != "" {
			return output.List(v.d.Console.Out, format, all)
		}
		table := [][]string{{"ID", "REPO-URLS", "GPG-MODE", "GPG-KEYS"}}
		for i := range all {
			var repos []string
			for _, r := range all[i].Repos {
				repos = append(repos, r.URL)
			}
			mode, keys := "", ""
			if g := all[i].GPG; g != nil {
				mode, keys = g.Mode, strings.Join(g.Keys, ",")
			}
			table = append(table, []string{strconv.Itoa(i), strings.Join(repos, ","), mode, keys})
		}
		return output.Table(v.d.Console.Out, table)
	})
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	return c
}

func policyAt(p *v1alpha1.AppProject, text string) (int, error) {
	i, err := strconv.Atoi(text)
	if n := len(*policies(p)); err != nil || i < 0 || i >= n {
		return 0, fail.New("proj source-integrity git policies list "+p.Name, "policy %q does not exist: project %s has %d, counted from 0", text, p.Name, n)
	}
	return i, nil
}

func (v *verbs) updatePolicy() *cobra.Command {
	f := &policyFlags{}
	var c *cobra.Command
	c = v.rule(rule{"update PROJECT ID", "Change what flags say of a policy", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		i, err := policyAt(p, args[0])
		if err == nil {
			err = f.checkMode()
		}
		if err != nil {
			return false, err
		}
		one := &(*policies(p))[i]
		if one.GPG == nil {
			one.GPG = &v1alpha1.SourceIntegrityGPG{}
		}
		if c.Flags().Changed("gpg-mode") {
			one.GPG.Mode = f.mode
		}
		if c.Flags().Changed("gpg-key") {
			one.GPG.Keys = f.keys
		}
		if c.Flags().Changed("repo-url") {
			one.Repos = urls(f.repos)
		}
		one.GPG.Keys = slices.DeleteFunc(append(one.GPG.Keys, f.addKeys...), func(k string) bool { return slices.Contains(f.noKeys, k) })
		one.Repos = slices.DeleteFunc(append(one.Repos, urls(f.addRepos)...), func(r v1alpha1.SourceIntegrityRepo) bool { return slices.Contains(f.noRepos, r.URL) })
		return v.sure(f.yes, "change policy "+args[0])
	}})
	fs := c.Flags()
	fs.StringVar(&f.mode, "gpg-mode", "", "strict: every commit, head: the newest, none")
	fs.StringSliceVar(&f.keys, "gpg-key", nil, "keys that may sign, in place of those that may; may be repeated")
	fs.StringSliceVar(&f.repos, "repo-url", nil, "globs of repositories in place of those there are; may be repeated")
	fs.StringSliceVar(&f.addKeys, "add-gpg-key", nil, "also this key; may be repeated")
	fs.StringSliceVar(&f.addRepos, "add-repo-url", nil, "also these repositories; may be repeated")
	fs.StringSliceVar(&f.noKeys, "delete-gpg-key", nil, "no longer this key; may be repeated")
	fs.StringSliceVar(&f.noRepos, "delete-repo-url", nil, "no longer these repositories; may be repeated")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return c
}

// sure asks, where questions are enabled.
func (v *verbs) sure(yes bool, what string) (bool, error) {
	if yes || !v.d.PromptsEnabled() {
		return true, nil
	}
	return v.d.Console.Confirm("Are you sure you want to " + what + "? [y/n] ")
}

func (v *verbs) deletePolicy() *cobra.Command {
	var yes bool
	c := v.rule(rule{"delete PROJECT ID...", "Delete policies", 2, -1, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		gone := map[int]bool{}
		for _, a := range args {
			i, err := policyAt(p, a)
			if err != nil {
				return false, err
			}
			gone[i] = true
		}
		all := policies(p)
		var left []v1alpha1.SourceIntegrityGitPolicy
		for i := range *all {
			if !gone[i] {
				left = append(left, (*all)[i])
			}
		}
		*all = left
		return v.sure(yes, "delete policies "+strings.Join(args, ", "))
	}})
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}
