package appset_test

import (
	"errors"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// TestConcerns: which sets look again after a webhook (spec/applicationset.md §9).
func TestConcerns(t *testing.T) {
	push := func(ref string, isDefault bool) appset.Event {
		return appset.Event{Push: &repo.Push{URL: "https://GIT.example/acme/fleet.git", Ref: ref, Default: isDefault}}
	}
	request := func(e appset.PullRequestEvent) appset.Event { return appset.Event{PullRequest: &e} }
	github := appset.PullRequestEvent{Provider: "github", URL: "https://github.com/Acme/API", Owner: "Acme", Repo: "API", Action: "opened"}
	gitlab := appset.PullRequestEvent{Provider: "gitlab", URL: "https://gitlab.example/acme/api", Owner: "acme", Repo: "api", ID: 7, Action: "merge"}
	with := func(e appset.PullRequestEvent, change func(*appset.PullRequestEvent)) appset.PullRequestEvent {
		change(&e)
		return e
	}
	git := func(revision string) string {
		return "[{git: {repoURL: 'git@git.example:acme/fleet.git', revision: '" + revision + "', directories: [{path: '*'}]}}]"
	}
	const githubRequests = "[{pullRequest: {github: {owner: acme, repo: api}}}]"
	matrix := func(first, second string) string { return "[{matrix: {generators: [" + first + ", " + second + "]}}]" }
	for _, c := range []struct {
		name, generators string
		event            appset.Event
		want             bool
	}{
		{"M34 another branch", git("main"), push("refs/heads/dev", false), false},
		{"M35 HEAD and the default branch", git("HEAD"), push("refs/heads/main", true), true},
		{"M35 nothing and the default branch", git(""), push("refs/heads/main", true), true},
		{"HEAD and another branch", git("HEAD"), push("refs/heads/dev", false), false},
		{"the branch itself", git("dev"), push("refs/heads/dev", false), true},
		{"a tag", git("v1"), push("refs/tags/v1", false), true},
		{"another repository", "[{git: {repoURL: 'https://git.example/acme/other', revision: HEAD, directories: [{path: '*'}]}}]", push("refs/heads/main", true), false},
		{"a pull request and git", git("HEAD"), request(github), false},
		{"list", "[{list: {elements: []}}]", push("refs/heads/main", true), false},
		{"scmProvider", "[{scmProvider: {github: {organization: acme}}}]", request(github), false},
		{"plugin and a push", "[{plugin: {configMapRef: {name: p}}}]", push("refs/heads/x", false), true},
		{"plugin and a pull request", "[{plugin: {configMapRef: {name: p}}}]", request(github), true},
		{"github", githubRequests, request(github), true},
		{"github, another action", githubRequests, request(with(github, func(e *appset.PullRequestEvent) { e.Action = "assigned" })), false},
		{"github, another repository", githubRequests, request(with(github, func(e *appset.PullRequestEvent) { e.Repo = "web" })), false},
		{"github, another host", "[{pullRequest: {github: {owner: acme, repo: api, api: 'https://ghe.example/api/v3'}}}]", request(github), false},
		{"github, its own host", "[{pullRequest: {github: {owner: acme, repo: api, api: 'https://ghe.example/api/v3'}}}]",
			request(with(github, func(e *appset.PullRequestEvent) { e.URL = "https://ghe.example/acme/api" })), true},
		{"github and a push", githubRequests, push("refs/heads/main", true), false},
		{"gitlab by number", "[{pullRequest: {gitlab: {project: '7', api: 'https://gitlab.example/'}}}]", request(gitlab), true},
		{"gitlab by path", "[{pullRequest: {gitlab: {project: acme/api, api: 'https://gitlab.example/'}}}]", request(gitlab), true},
		{"gitlab, another host", "[{pullRequest: {gitlab: {project: '7'}}}]", request(gitlab), false},
		{"gitlab, another action", "[{pullRequest: {gitlab: {project: '7', api: 'https://gitlab.example/'}}}]", request(with(gitlab, func(e *appset.PullRequestEvent) { e.Action = "approved" })), false},
		{"azure", "[{pullRequest: {azuredevops: {organization: acme, project: Team, repo: api}}}]", request(appset.PullRequestEvent{Provider: "azuredevops", Project: "team", Repo: "api"}), true},
		{"azure, another project", "[{pullRequest: {azuredevops: {organization: acme, project: Team, repo: api}}}]", request(appset.PullRequestEvent{Provider: "azuredevops", Project: "x", Repo: "api"}), false},
		{"gitea", "[{pullRequest: {gitea: {owner: acme, repo: api, api: 'https://gitea.example'}}}]", request(appset.PullRequestEvent{Provider: "gitea", URL: "https://gitea.example/acme/api", Owner: "acme", Repo: "api"}), true},
		{"bitbucket server", "[{pullRequest: {bitbucketServer: {project: ACME, repo: api, api: 'https://bb.example'}}}]", request(appset.PullRequestEvent{Provider: "bitbucketServer", URL: "https://bb.example/x", Owner: "acme", Repo: "api"}), true},
		{"bitbucket", "[{pullRequest: {bitbucket: {owner: acme, repo: api}}}]", request(appset.PullRequestEvent{Provider: "bitbucket", Owner: "acme", Repo: "api"}), true},
		{"merge", "[{merge: {mergeKeys: [a], generators: [{list: {elements: []}}, {pullRequest: {github: {owner: acme, repo: api}}}]}}]", request(github), true},
		{"first of a matrix", matrix("{pullRequest: {github: {owner: acme, repo: api}}}", "{list: {elements: []}}"), request(github), true},
		{"second of a matrix, filled", matrix("{list: {elements: [{r: web}, {r: api}]}}", "{pullRequest: {github: {owner: acme, repo: '{{r}}'}}}"), request(github), true},
		{"second of a matrix, filled otherwise", matrix("{list: {elements: [{r: web}]}}", "{pullRequest: {github: {owner: acme, repo: '{{r}}'}}}"), request(github), false},
		{"second of a matrix whose first has nothing", matrix("{list: {elements: []}}", "{pullRequest: {github: {owner: acme, repo: '{{r}}'}}}"), request(github), false},
		{"second of a matrix whose first fails", matrix("{git: {repoURL: x, revision: v, directories: [{path: a}]}}", "{pullRequest: {github: {owner: acme, repo: api}, filters: [{titleMatch: '{{x}}'}]}}"), request(github), true},
		{"nested", matrix("{list: {elements: [{r: api}]}}", "{merge: {mergeKeys: [a], generators: [{list: {elements: []}}, {pullRequest: {github: {owner: acme, repo: '{{r}}'}}}]}}"), request(github), true},
	} {
		set := &v1alpha1.ApplicationSet{}
		if err := yaml.UnmarshalStrict([]byte("generators: "+c.generators), &set.Spec); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		world := appset.World{Tree: func(string, string) (tree.Tree, error) { return nil, errors.New("down") }}
		if got := appset.Concerns(set, c.event, world); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
