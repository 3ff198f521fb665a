package generate

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// credentialsType is the value of label secret-type of Secrets that generators
// may read.
const credentialsType = "scm-creds"

// permitSCM refuses a generator whose host is not allowed, before anything is
// sent (spec/applicationset.md §3.10).
func (r Rules) permitSCM(g *v1alpha1.SCMProviderGenerator) error {
	var field, api string
	switch {
	case g.Github != nil:
		field, api = "github.api", g.Github.API
	case g.Gitlab != nil:
		field, api = "gitlab.api", g.Gitlab.API
	case g.Gitea != nil:
		field, api = "gitea.api", g.Gitea.API
	case g.BitbucketServer != nil:
		field, api = "bitbucketServer.api", g.BitbucketServer.API
	case g.AzureDevOps != nil:
		field, api = "azureDevOps.api", g.AzureDevOps.API
	}
	return r.permit(field, api)
}

func (r Rules) permitPullRequests(g *v1alpha1.PullRequestGenerator) error {
	var field, api string
	switch {
	case g.Github != nil:
		field, api = "github.api", g.Github.API
	case g.GitLab != nil:
		field, api = "gitlab.api", g.GitLab.API
	case g.Gitea != nil:
		field, api = "gitea.api", g.Gitea.API
	case g.BitbucketServer != nil:
		field, api = "bitbucketServer.api", g.BitbucketServer.API
	case g.Bitbucket != nil:
		field, api = "bitbucket.api", g.Bitbucket.API
	case g.AzureDevOps != nil:
		field, api = "azuredevops.api", g.AzureDevOps.API
	}
	return r.permit(field, api)
}

func (r Rules) permit(field, api string) error {
	if r.SCMProviders != nil && !*r.SCMProviders {
		return fmt.Errorf("generators that ask hosts of source code are switched off: set --enable-scm-providers")
	}
	if api != "" && len(r.AllowedSCM) > 0 && !slices.Contains(r.AllowedSCM, api) {
		return fmt.Errorf("%s %q is not on the list of --allowed-scm-providers", field, api)
	}
	return nil
}

// access is what generators of the set may use to ask hosts. Secrets come from
// its own namespace. One that registers a cluster or a repository is for that
// alone, and that of the control plane itself is nobody's token.
func (o *outside) access() scm.Access {
	return scm.Access{
		Namespace: o.set.Namespace, Name: o.set.Name, Default: o.set.Namespace == o.Namespace && !o.strict,
		Token: func(ctx context.Context, ref v1alpha1.SecretRef) (repo.Secret, error) {
			secret, err := o.Secret(ctx, o.set.Namespace, ref.SecretName)
			if err != nil {
				return "", err
			}
			kind := secret.Labels[v1alpha1.LabelSecretType]
			switch {
			case kind == credentialsType:
			case o.strict || o.rules.StrictTokens || o.set.Namespace != o.Namespace:
				return "", fmt.Errorf("secret %s does not carry label %s=%s, which is asked for", ref.SecretName, v1alpha1.LabelSecretType, credentialsType)
			case kind != "" || ref.SecretName == argoSecret || secret.Labels["app.kubernetes.io/part-of"] == "argocd":
				return "", fmt.Errorf("secret %s is not for generators: use another one, or label it %s=%s", ref.SecretName, v1alpha1.LabelSecretType, credentialsType)
			}
			value, ok := secret.Data[ref.Key]
			if !ok {
				return "", fmt.Errorf("secret %s has no key %s", ref.SecretName, ref.Key)
			}
			return repo.Secret(value), nil
		},
		CA: func(ctx context.Context, ref v1alpha1.ConfigMapKeyRef) (string, error) {
			config, err := o.ConfigMap(ctx, o.set.Namespace, ref.ConfigMapName)
			if err != nil {
				return "", err
			}
			value, ok := config.Data[ref.Key]
			if !ok {
				return "", fmt.Errorf("ConfigMap %s has no key %s", ref.ConfigMapName, ref.Key)
			}
			return string(value), nil
		},
		App: o.app,
	}
}

// app reads the Secret of a GitHub App, which is a repo-creds Secret of the
// control plane.
func (o *outside) app(ctx context.Context, name string) (repo.GitHubApp, error) {
	secret, err := o.Secret(ctx, o.Namespace, name)
	if err != nil {
		return repo.GitHubApp{}, err
	}
	if kind := secret.Labels[v1alpha1.LabelSecretType]; kind != "repo-creds" && kind != credentialsType {
		return repo.GitHubApp{}, fmt.Errorf("secret %s does not carry label %s=repo-creds", name, v1alpha1.LabelSecretType)
	}
	app := repo.GitHubApp{PrivateKey: repo.Secret(secret.Data["githubAppPrivateKey"]), BaseURL: string(secret.Data["githubAppEnterpriseBaseUrl"])}
	for key, into := range map[string]*int64{"githubAppID": &app.ID, "githubAppInstallationID": &app.Installation} {
		raw := string(secret.Data[key])
		if raw == "" && key == "githubAppInstallationID" {
			continue
		}
		if *into, err = strconv.ParseInt(raw, 10, 64); err != nil {
			return repo.GitHubApp{}, fmt.Errorf("secret %s: key %s is no number", name, key)
		}
	}
	return app, nil
}
