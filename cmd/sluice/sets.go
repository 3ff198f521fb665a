package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/parameters"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/controller/generate"
	"github.com/sluice-cd/sluice/internal/controller/manifest/transport"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// setFlags configure what is generated (spec/applicationset.md §12).
type setFlags struct {
	rules                       generate.Rules
	override, providers         bool
	rootCA, proxyURL, noProxy   string
	githubMetrics               bool
	shownLabels                 []string
	concurrentSets, concurrency int
	// given says that a flag, or the variable in its place, was given.
	given func(flag string) bool
}

func (f *setFlags) register(flags *pflag.FlagSet) {
	r := &f.rules
	flags.StringVar(&r.Policy, "policy", "", "what may happen to generated Applications: sync, create-only, create-update or create-delete")
	flags.BoolVar(&f.override, "enable-policy-override", true, "let spec.syncPolicy.applicationsSync of a set win over --policy; default: only without --policy")
	flags.BoolVar(&r.DryRun, "dry-run", false, "write nothing about ApplicationSets; say in the log what would be written")
	flags.StringSliceVar(&r.Namespaces, "applicationset-namespaces", nil, "namespaces of ApplicationSets besides the control plane's: names, globs, /expressions/")
	flags.StringSliceVar(&r.AllowedSCM, "allowed-scm-providers", nil, "addresses that scmProvider and pullRequest may name; none is all")
	flags.BoolVar(&f.providers, "enable-scm-providers", true, "let generators ask hosts of source code")
	flags.BoolVar(&r.NewGlobs, "enable-new-git-file-globbing", false, "let only ** cross folders in the file patterns of git generators")
	flags.StringSliceVar(&r.PreservedAnnotations, "preserved-annotations", nil, "annotations that survive on generated Applications")
	flags.StringSliceVar(&r.PreservedLabels, "preserved-labels", nil, "labels that survive on generated Applications")
	flags.IntVar(&f.concurrentSets, "concurrent-reconciliations", 0, "ApplicationSets evaluated at a time; default 10")
	flags.IntVar(&f.concurrency, "concurrent-application-updates", 0, "Applications of one set written at a time, 1 to 200; default 10")
	flags.StringVar(&f.rootCA, "scm-root-ca-path", "", "file with certificates that hosts of source code may be signed by")
	flags.StringVar(&f.proxyURL, "scm-proxy-url", "", "proxy on the way to hosts of source code")
	flags.StringVar(&f.noProxy, "scm-no-proxy", "", "hosts of source code that are reached without it")
	flags.BoolVar(&f.githubMetrics, "enable-github-api-metrics", false, "publish argocd_github_api_*")
	flags.StringSliceVar(&f.shownLabels, "metrics-applicationset-labels", nil, "labels of ApplicationSets that argocd_appset_labels shows")
}

// setVariables are the variables that speak where a flag is not given.
var setVariables = map[string]string{
	"policy": "POLICY", "enable-policy-override": "ENABLE_POLICY_OVERRIDE", "dry-run": "DRY_RUN", "applicationset-namespaces": "NAMESPACES",
	"allowed-scm-providers": "ALLOWED_SCM_PROVIDERS", "enable-scm-providers": "ENABLE_SCM_PROVIDERS", "enable-new-git-file-globbing": "ENABLE_NEW_GIT_FILE_GLOBBING",
	"preserved-annotations": "GLOBAL_PRESERVED_ANNOTATIONS", "preserved-labels": "GLOBAL_PRESERVED_LABELS", "token-ref-strict-mode": "TOKENREF_STRICT_MODE",
	"concurrent-reconciliations": "CONCURRENT_RECONCILIATIONS", "concurrent-application-updates": "CONCURRENT_APPLICATION_UPDATES",
	"scm-root-ca-path": "SCM_ROOT_CA_PATH", "scm-proxy-url": "SCM_PROXY_URL", "scm-no-proxy": "SCM_NO_PROXY", "enable-github-api-metrics": "ENABLE_GITHUB_API_METRICS",
	gateFlag: "ENABLE_PROGRESSIVE_SYNCS", safetyFlag: "ROLLOUT_REQUEUE_AFTER",
}

const setPrefix = "ARGOCD_APPLICATIONSET_CONTROLLER_"

// complete reads variables where flags are silent; environment is that of
// os.LookupEnv.
func (f *setFlags) complete(flags *pflag.FlagSet, environment func(string) (string, bool)) error {
	f.given = flags.Changed
	for name, variable := range setVariables {
		value, given := environment(setPrefix + variable)
		if flags.Changed(name) || !given || value == "" {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("%s: %w", setPrefix+variable, err)
		}
	}
	if value, given := environment(setPrefix + "REQUEUE_AFTER"); given && value != "" {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%sREQUEUE_AFTER=%s is no duration", setPrefix, value)
		}
		f.rules.Interval = d
	}
	if flags.Changed("enable-policy-override") {
		f.rules.PolicyOverride = &f.override
	}
	if flags.Changed("enable-scm-providers") {
		f.rules.SCMProviders = &f.providers
	}
	f.rules.Workers, f.rules.Writers = f.concurrentSets, f.concurrency
	return nil
}

// hubCache is what of the hub is watched: everything of the control plane's
// namespace, sets of those that rules name, and Applications of these and of
// those apart.
func (f *setFlags) hubCache(namespace string, apart policy.Namespaces) cache.Options {
	options := cache.Options{
		DefaultNamespaces: map[string]cache.Config{namespace: {}}, DefaultTransform: cache.TransformStripManagedFields(),
	}
	if len(f.rules.Namespaces) == 0 && apart.Empty() {
		options.ByObject = map[client.Object]cache.ByObject{&v1alpha1.ApplicationSet{}: {Transform: whole}}
		return options
	}
	named, everywhere := apart.Names()
	apps := watched(namespace, append(slices.Clone(named), f.rules.Namespaces...))
	if everywhere {
		apps = map[string]cache.Config{cache.AllNamespaces: {}}
	}
	options.ByObject = map[client.Object]cache.ByObject{
		&v1alpha1.ApplicationSet{}: {Namespaces: watched(namespace, f.rules.Namespaces), Transform: whole}, &v1alpha1.Application{}: {Namespaces: apps},
	}
	return options
}

// watched are the control plane's namespace and others; all when one of them is
// a pattern.
func watched(namespace string, others []string) map[string]cache.Config {
	out := map[string]cache.Config{namespace: {}}
	for _, n := range others {
		one, err := policy.ParseNamespaces([]string{n})
		if _, several := one.Names(); several || err != nil {
			return map[string]cache.Config{cache.AllNamespaces: {}}
		}
		out[n] = cache.Config{}
	}
	return out
}

// whole leaves an object as it is: who approved a step, or asked for anything
// else by annotation, is told by the managed fields of the ApplicationSet.
func whole(o any) (any, error) { return o, nil }

// fromParams takes the settings that decide what is watched from
// argocd-cmd-params-cm, once: a change of them needs a restart.
func (f *setFlags) fromParams(ctx context.Context, hub client.Reader, namespace string) error {
	params, err := paramsAt(ctx, hub, namespace)
	if err != nil {
		return err
	}
	if len(f.rules.Namespaces) == 0 {
		f.rules.Namespaces = listOf(params["applicationsetcontroller.namespaces"], ",")
	}
	f.rules.Namespaces = slices.DeleteFunc(f.rules.Namespaces, func(n string) bool { return n == namespace })
	on, err := strconv.ParseBool(params["applicationsetcontroller.enable.github.api.metrics"])
	f.githubMetrics = f.githubMetrics || err == nil && on
	if f.rootCA == "" {
		f.rootCA = params["applicationsetcontroller.scm.root.ca.path"]
	}
	effective, _ := f.rules.With(params)
	effective.Policy = f.rules.Policy // that of the config map may be mended while we run
	return effective.Check(namespace)
}

// setsCommand runs what generates Applications and advances sets, beside
// somebody else who syncs them.
func setsCommand() *cobra.Command {
	f := &allFlags{lease: leaseName, internal: internalFlags{address: ":8087"}}
	return f.command("applicationset-controller", "Run the controllers of ApplicationSets alone", func(ctx context.Context, mgr manager.Manager, cfg *rest.Config, logger *slog.Logger) error {
		p, closeParts, err := f.parts(ctx, mgr, cfg, logger)
		if err != nil {
			return err
		}
		defer closeParts()
		sets, err := f.setControllers(ctx, p)
		if err != nil {
			return err
		}
		if err := f.reach.openSets(p, sets); err != nil {
			return err
		}
		return runAll(ctx, p.store.Run, sets.advance.Start, sets.generate.Start, f.answering(p, transport.RoleAppSets))
	})
}

// setLoops are the loop that generates and the one that advances, with what
// the latter goes by.
type setLoops struct {
	generate *generate.Controller
	advance  *advance.Controller
	facts    advance.Facts
}

// setControllers makes them.
func (f *allFlags) setControllers(ctx context.Context, p *parts) (*setLoops, error) {
	steps, facts, err := f.rollouts(ctx, rolloutParts{mgr: p.mgr, store: p.store, manifests: p.manifests, log: p.log, registry: p.registry, clock: p.clock})
	if err != nil {
		return nil, err
	}
	read, err := f.sets.sources(p, f.namespace)
	if err != nil {
		return nil, err
	}
	read.Gate, read.Queries = f.progressive, p.queries
	read.Tree = signedTrees(p.manifests.Tree, p.projects, p.manifests.Verify, func() []signature.Key { return p.store.Snapshot().Keys })
	sets := generate.New(generate.Options{
		Sources: read, Client: p.mgr.GetClient(), Cache: p.mgr.GetCache(), Subscribe: p.manifests.Subscribe, Offer: steps.Offer, Labels: f.sets.shownLabels,
		Recorder:   p.mgr.GetEventRecorderFor("applicationset-controller"), //nolint:staticcheck // core v1 events are what users read
		Registerer: p.registry,
	})
	return &setLoops{generate: sets, advance: steps, facts: facts}, nil
}

// sources makes what evaluations of sets read, but for trees of Git.
func (f *setFlags) sources(p *parts, namespace string) (generate.Sources, error) {
	dynamics, err := dynamic.NewForConfig(p.cfg)
	if err != nil {
		return generate.Sources{}, fmt.Errorf("connect to the hub: %w", err)
	}
	roots := ""
	if f.rootCA != "" {
		raw, err := os.ReadFile(f.rootCA)
		if err != nil { // as in Argo CD: what it would have let in stays out
			p.log.Warn("--scm-root-ca-path cannot be read and is ignored", "file", f.rootCA)
		}
		roots = string(raw)
	}
	hosts := scm.New(scm.Options{
		RootCAs: roots, ProxyURL: f.proxyURL, NoProxy: f.noProxy, Environment: os.Environ(), GitHubMetrics: f.githubMetrics, ReadFile: os.ReadFile,
		Log: p.log.With("component", "scm"), Clock: p.clock, Registerer: p.registry,
	})
	hub := hubReader{cached: p.mgr.GetCache(), direct: p.mgr.GetAPIReader(), namespace: namespace}
	return generate.Sources{
		Reader: p.mgr.GetCache(), Settings: p.store, Namespace: namespace, Engine: template.New(p.clock),
		Hosts: hosts, Plugin: parameters.New(nil).Ask, Resources: decisions(dynamics, namespace),
		Secret: hub.secret, ConfigMap: hub.configMap, Rules: f.rules, Clock: p.clock, Log: p.log.With("component", "generate"),
	}, nil
}

// hubReader reads Secrets and config maps: of the control plane's namespace
// from the cache, of others from the API server.
type hubReader struct {
	cached, direct client.Reader
	namespace      string
}

func (h hubReader) get(ctx context.Context, namespace, name string, into client.Object) error {
	from := h.direct
	if namespace == h.namespace {
		from = h.cached
	}
	return from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
}

func (h hubReader) secret(ctx context.Context, namespace, name string) (generate.Object, error) {
	var s corev1.Secret
	if err := h.get(ctx, namespace, name, &s); err != nil {
		return generate.Object{}, unreadable("Secret", namespace, name, err)
	}
	return generate.Object{Labels: s.Labels, Data: s.Data}, nil
}

func (h hubReader) configMap(ctx context.Context, namespace, name string) (generate.Object, error) {
	var m corev1.ConfigMap
	if err := h.get(ctx, namespace, name, &m); err != nil {
		return generate.Object{}, unreadable("ConfigMap", namespace, name, err)
	}
	out := generate.Object{Labels: m.Labels, Data: map[string][]byte{}}
	for k, v := range m.Data {
		out.Data[k] = []byte(v)
	}
	return out, nil
}

func unreadable(kind, namespace, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s %s does not exist in namespace %s: create it, or correct the name", kind, name, namespace)
	}
	return fmt.Errorf("%s %s of namespace %s cannot be read: %w", kind, name, namespace, err)
}

// maxDecisions bounds the objects of a clusterDecisionResource that are read.
const maxDecisions = 1000

// decisions lists objects of a resource in the control plane's namespace.
func decisions(hub dynamic.Interface, namespace string) generate.Resources {
	return func(ctx context.Context, resource schema.GroupVersionResource, name string, selector labels.Selector) ([]map[string]any, error) {
		of := hub.Resource(resource).Namespace(namespace)
		if name != "" {
			found, err := of.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil, nil
			}
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", resource.GroupResource(), name, err)
			}
			return []map[string]any{found.Object}, nil
		}
		list, err := of.List(ctx, metav1.ListOptions{LabelSelector: selector.String(), Limit: maxDecisions})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resource.GroupResource(), err)
		}
		if list.GetContinue() != "" {
			return nil, fmt.Errorf("%s: more than %d are selected: narrow labelSelector", resource.GroupResource(), maxDecisions)
		}
		out := make([]map[string]any, len(list.Items))
		for i := range list.Items {
			out[i] = list.Items[i].Object
		}
		return out, nil
	}
}
