package app

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// specFlags are the flags that describe an Application (spec/cli.md §3.1).
type specFlags struct {
	fs *pflag.FlagSet
	// fetch reads files and URLs that flags name.
	fetch func(name string) ([]byte, error)

	project, destServer, destName, destNamespace, env              string
	syncPolicy                                                     string
	autoPrune, selfHeal, allowEmpty, validate, retryRefresh        bool
	syncOptions                                                    []string
	historyLimit, retryLimit, retryFactor                          int64
	retryDuration, retryMax                                        time.Duration
	dryRepo, dryPath, dryRevision, syncBranch, syncPath, hydrateTo string
	source                                                         sourceFlags
}

// sourceFlags describe one source.
type sourceFlags struct {
	repo, path, revision, chart, ref, name, tagPrefix                           string
	parameters, values, helmSet, helmSetString, helmSetFile, helmAPIs           []string
	releaseName, valuesLiteral, helmVersion, helmNamespace, helmKube            string
	passCredentials, skipCRDs, skipTests, skipSchema, ignoreMissingValues       bool
	namePrefix, nameSuffix, kustomizeVersion, kustomizeNamespace, kustomizeKube string
	images, replicas, commonLabels, commonAnnotations, kustomizeAPIs            []string
	forceLabels, forceAnnotations, withoutSelector, inTemplates, missingParts   bool
	plugin                                                                      string
	pluginEnv                                                                   []string
	recurse                                                                     bool
	include, exclude                                                            string
	extStr, extCode, tlaStr, tlaCode, libs                                      []string
}

func (f *specFlags) register(fs *pflag.FlagSet) {
	f.fs = fs
	for _, s := range []struct {
		into        *string
		name, usage string
	}{
		{&f.project, "project", "project of the Application"},
		{&f.destServer, "dest-server", "server of the target cluster"},
		{&f.destName, "dest-name", "name of the target cluster"},
		{&f.destNamespace, "dest-namespace", "namespace on the target cluster"},
		{&f.env, "env", "accepted: environments of ksonnet are gone"},
		{&f.syncPolicy, "sync-policy", "automated (also auto, automatic), or none (also manual)"},
		{&f.dryRepo, "dry-source-repo", "repository of the unrendered manifests"},
		{&f.dryPath, "dry-source-path", "folder of the unrendered manifests"},
		{&f.dryRevision, "dry-source-revision", "revision of the unrendered manifests"},
		{&f.syncBranch, "sync-source-branch", "branch of the rendered manifests"},
		{&f.syncPath, "sync-source-path", "folder of the rendered manifests"},
		{&f.hydrateTo, "hydrate-to-branch", "branch that rendered manifests are pushed to first"},
	} {
		fs.StringVar(s.into, s.name, "", s.usage)
	}
	fs.BoolVar(&f.autoPrune, "auto-prune", false, "automated syncs delete what Git no longer has")
	fs.BoolVar(&f.selfHeal, "self-heal", false, "automated syncs undo changes made on the cluster")
	fs.BoolVar(&f.allowEmpty, "allow-empty", false, "automated syncs may delete everything")
	fs.BoolVar(&f.validate, "validate", true, "check repository and cluster")
	fs.StringArrayVar(&f.syncOptions, "sync-option", nil, "add a sync option Key=value, or remove one with a leading !")
	fs.Int64Var(&f.historyLimit, "revision-history-limit", 10, "deployments to remember")
	fs.Int64Var(&f.retryLimit, "sync-retry-limit", 0, "how often a failed sync is tried again; negative is for ever")
	fs.Int64Var(&f.retryFactor, "sync-retry-backoff-factor", 2, "by what the pause between tries grows")
	fs.DurationVar(&f.retryDuration, "sync-retry-backoff-duration", 5*time.Second, "first pause between tries")
	fs.DurationVar(&f.retryMax, "sync-retry-backoff-max-duration", 3*time.Minute, "longest pause between tries")
	fs.BoolVar(&f.retryRefresh, "sync-retry-refresh", false, "try again with the newest revision")
	f.source.register(fs)
}

func (s *sourceFlags) register(fs *pflag.FlagSet) {
	for _, o := range []struct {
		into        *string
		name, usage string
	}{
		{&s.repo, "repo", "URL of the repository"}, {&s.path, "path", "folder in the repository"},
		{&s.revision, "revision", "branch, tag, commit or version"}, {&s.chart, "helm-chart", "name of a Helm chart"},
		{&s.ref, "ref", "name by which other sources refer to this one"}, {&s.name, "source-name", "name of the source"},
		{&s.tagPrefix, "tag-prefix", "prefix of the tags that count as versions"},
		{&s.releaseName, "release-name", "Helm release name"}, {&s.valuesLiteral, "values-literal-file", "file or URL whose content becomes Helm values"},
		{&s.helmVersion, "helm-version", "accepted: there is one Helm engine"}, {&s.helmNamespace, "helm-namespace", "namespace for Helm templates"},
		{&s.helmKube, "helm-kube-version", "Kubernetes version for Helm templates"},
		{&s.namePrefix, "nameprefix", "Kustomize name prefix"}, {&s.nameSuffix, "namesuffix", "Kustomize name suffix"},
		{&s.kustomizeVersion, "kustomize-version", "version of Kustomize"}, {&s.kustomizeNamespace, "kustomize-namespace", "Kustomize namespace"},
		{&s.kustomizeKube, "kustomize-kube-version", "Kubernetes version for charts in kustomizations"},
		{&s.plugin, "config-management-plugin", "plugin that renders"},
		{&s.include, "directory-include", "glob of files to read"}, {&s.exclude, "directory-exclude", "glob of files to leave out"},
	} {
		fs.StringVar(o.into, o.name, "", o.usage)
	}
	for _, o := range []struct {
		into        *[]string
		name, usage string
	}{
		{&s.values, "values", "Helm values file; may be repeated"}, {&s.helmSet, "helm-set", "Helm value NAME=VALUE"},
		{&s.helmSetString, "helm-set-string", "Helm value NAME=TEXT"}, {&s.helmSetFile, "helm-set-file", "Helm value NAME=FILE"},
		{&s.helmAPIs, "helm-api-versions", "API version for Helm templates"},
		{&s.images, "kustomize-image", "Kustomize image, name=new:tag"}, {&s.replicas, "kustomize-replica", "Kustomize replicas, NAME=COUNT"},
		{&s.commonLabels, "kustomize-common-label", "label KEY=VALUE for all objects"},
		{&s.commonAnnotations, "kustomize-common-annotation", "annotation KEY=VALUE for all objects"},
		{&s.kustomizeAPIs, "kustomize-api-versions", "API version for charts in kustomizations"},
		{&s.pluginEnv, "plugin-env", "environment of the plugin, NAME=VALUE"},
		{&s.extStr, "jsonnet-ext-var-str", "Jsonnet variable NAME=TEXT"}, {&s.extCode, "jsonnet-ext-var-code", "Jsonnet variable NAME=CODE"},
		{&s.tlaStr, "jsonnet-tla-str", "Jsonnet argument NAME=TEXT"}, {&s.tlaCode, "jsonnet-tla-code", "Jsonnet argument NAME=CODE"},
		{&s.libs, "jsonnet-libs", "folder of Jsonnet libraries"},
	} {
		fs.StringArrayVar(o.into, o.name, nil, o.usage)
	}
	fs.StringArrayVarP(&s.parameters, "parameter", "p", nil, "Helm parameter NAME=VALUE; may be repeated")
	for _, o := range []struct {
		into        *bool
		name, usage string
	}{
		{&s.passCredentials, "helm-pass-credentials", "send credentials to every host a chart comes from"},
		{&s.skipCRDs, "helm-skip-crds", "leave custom resource definitions out"}, {&s.skipTests, "helm-skip-tests", "leave Helm tests out"},
		{&s.skipSchema, "helm-skip-schema-validation", "do not check values against the schema"},
		{&s.ignoreMissingValues, "ignore-missing-value-files", "do without values files that are missing"},
		{&s.forceLabels, "kustomize-force-common-label", "overwrite labels that are there"},
		{&s.forceAnnotations, "kustomize-force-common-annotation", "overwrite annotations that are there"},
		{&s.withoutSelector, "kustomize-label-without-selector", "leave selectors alone"},
		{&s.inTemplates, "kustomize-label-include-templates", "label templates too"},
		{&s.missingParts, "ignore-missing-components", "do without components that are missing"},
		{&s.recurse, "directory-recurse", "read subfolders"},
	} {
		fs.BoolVar(o.into, o.name, false, o.usage)
	}
}

// changed says that a flag was given.
func (f *specFlags) changed(name string) bool { return f.fs.Changed(name) }

// any says that some flag that describes an Application was given.
func (f *specFlags) any() bool {
	some := false
	f.fs.Visit(func(flag *pflag.Flag) {
		some = some || !slices.Contains([]string{"app-namespace", "source-position", "source-name", "validate", "upsert", "file"}, flag.Name)
	})
	return some
}

// apply changes a spec as the flags say; src is the source they are about.
func (f *specFlags) apply(spec *v1alpha1.ApplicationSpec, src *v1alpha1.ApplicationSource) error {
	if f.changed("project") {
		spec.Project = f.project
	}
	if f.changed("dest-server") {
		spec.Destination.Server = f.destServer
		if !f.changed("dest-name") {
			spec.Destination.Name = ""
		}
	}
	if f.changed("dest-name") {
		spec.Destination.Name = f.destName
		if !f.changed("dest-server") {
			spec.Destination.Server = ""
		}
	}
	if f.changed("dest-namespace") {
		spec.Destination.Namespace = f.destNamespace
	}
	if f.changed("revision-history-limit") {
		limit := f.historyLimit
		spec.RevisionHistoryLimit = &limit
	}
	f.hydrator(spec)
	if err := f.policy(spec); err != nil {
		return err
	}
	if src == nil {
		return nil
	}
	return f.applySource(src)
}

func (f *specFlags) hydrator(spec *v1alpha1.ApplicationSpec) {
	given := false
	for _, name := range []string{"dry-source-repo", "dry-source-path", "dry-source-revision", "sync-source-branch", "sync-source-path", "hydrate-to-branch"} {
		given = given || f.changed(name)
	}
	if !given {
		return
	}
	if spec.SourceHydrator == nil {
		spec.SourceHydrator = &v1alpha1.SourceHydrator{}
	}
	h := spec.SourceHydrator
	for _, s := range []struct {
		name        string
		into, value *string
	}{
		{"dry-source-repo", &h.DrySource.RepoURL, &f.dryRepo}, {"dry-source-path", &h.DrySource.Path, &f.dryPath},
		{"dry-source-revision", &h.DrySource.TargetRevision, &f.dryRevision},
		{"sync-source-branch", &h.SyncSource.TargetBranch, &f.syncBranch}, {"sync-source-path", &h.SyncSource.Path, &f.syncPath},
	} {
		if f.changed(s.name) {
			*s.into = *s.value
		}
	}
	if f.changed("hydrate-to-branch") {
		h.HydrateTo = &v1alpha1.HydrateTo{TargetBranch: f.hydrateTo}
		if f.hydrateTo == "" {
			h.HydrateTo = nil
		}
	}
}

// policy changes the sync policy.
func (f *specFlags) policy(spec *v1alpha1.ApplicationSpec) error {
	p := v1alpha1.SyncPolicy{}
	if spec.SyncPolicy != nil {
		p = *spec.SyncPolicy
	}
	if f.changed("sync-policy") {
		switch f.syncPolicy {
		case "none", "manual", "":
			p.Automated = nil
		case "auto", "automatic", "automated":
			if p.Automated == nil {
				p.Automated = &v1alpha1.SyncPolicyAutomated{}
			}
			p.Automated.Enabled = nil
		default:
			return fail.Fatal("Invalid sync-policy: %s: use automated or none", f.syncPolicy)
		}
	}
	for _, o := range []struct {
		name string
		set  func(*v1alpha1.SyncPolicyAutomated)
	}{
		{"auto-prune", func(a *v1alpha1.SyncPolicyAutomated) { a.Prune = f.autoPrune }},
		{"self-heal", func(a *v1alpha1.SyncPolicyAutomated) { a.SelfHeal = f.selfHeal }},
		{"allow-empty", func(a *v1alpha1.SyncPolicyAutomated) { a.AllowEmpty = f.allowEmpty }},
	} {
		if !f.changed(o.name) {
			continue
		}
		if p.Automated == nil {
			return fail.Fatal("Cannot set --%s: application not configured with automatic sync: add --sync-policy automated", o.name)
		}
		o.set(p.Automated)
	}
	for _, o := range f.syncOptions {
		name, _, _ := strings.Cut(strings.TrimPrefix(o, "!"), "=")
		if !strings.HasPrefix(o, "!") {
			if !strings.Contains(o, "=") {
				return fail.Fatal("--sync-option %q: want KEY=VALUE, or !KEY=VALUE to remove one", o)
			}
			p.SyncOptions = slices.DeleteFunc(slices.Clone(p.SyncOptions), func(x string) bool { return strings.HasPrefix(x, name+"=") })
			p.SyncOptions = append(p.SyncOptions, o)
			continue
		}
		p.SyncOptions = slices.DeleteFunc(slices.Clone(p.SyncOptions), func(x string) bool { return x == o[1:] })
	}
	f.retries(&p)
	spec.SyncPolicy = &p
	if p.Automated == nil && len(p.SyncOptions) == 0 && p.Retry == nil && p.ManagedNamespaceMetadata == nil && p.SyncTimeout == "" {
		spec.SyncPolicy = nil
	}
	return nil
}

func (f *specFlags) retries(p *v1alpha1.SyncPolicy) {
	if f.changed("sync-retry-limit") {
		if f.retryLimit == 0 {
			p.Retry = nil
			return
		}
		p.Retry = &v1alpha1.RetryStrategy{Limit: f.retryLimit, Refresh: f.retryRefresh, Backoff: f.backoff()}
		return
	}
	if p.Retry == nil {
		return
	}
	if f.changed("sync-retry-refresh") {
		p.Retry.Refresh = f.retryRefresh
	}
	if f.changed("sync-retry-backoff-duration") || f.changed("sync-retry-backoff-factor") || f.changed("sync-retry-backoff-max-duration") {
		p.Retry.Backoff = f.backoff()
	}
}

func (f *specFlags) backoff() *v1alpha1.Backoff {
	factor := f.retryFactor
	return &v1alpha1.Backoff{Duration: f.retryDuration.String(), MaxDuration: f.retryMax.String(), Factor: &factor}
}

func pair(word, flag string) (name, value string, err error) {
	name, value, ok := strings.Cut(word, "=")
	if !ok || name == "" {
		return "", "", fail.Fatal("--%s %q: want NAME=VALUE", flag, word)
	}
	return name, value, nil
}
