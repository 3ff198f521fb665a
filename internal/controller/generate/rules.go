package generate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Rules are an installation's settings of ApplicationSets, by flag
// (spec/applicationset.md §12). What a flag leaves open argocd-cmd-params-cm
// says, under applicationsetcontroller., and then the default.
type Rules struct {
	// Policy is the policy of all sets; PolicyOverride lets a set choose its own.
	// Nil is true when there is no policy.
	Policy         string
	PolicyOverride *bool
	// DryRun writes nothing at all.
	DryRun bool
	// PreservedAnnotations and PreservedLabels survive on live Applications.
	PreservedAnnotations, PreservedLabels []string
	// SCMProviders switches scmProvider and pullRequest; nil is on. AllowedSCM are
	// the addresses they may name; none is all. StrictTokens lets them read
	// Secrets labelled scm-creds only.
	SCMProviders *bool
	AllowedSCM   []string
	StrictTokens bool
	// NewGlobs makes patterns of git files cross folders with ** only.
	NewGlobs bool
	// Interval of git and clusterDecisionResource that say nothing; zero is three
	// minutes.
	Interval time.Duration
	// Namespaces where sets are looked at besides the control plane's: names,
	// globs, or regular expressions between slashes.
	Namespaces []string
	// Workers evaluate sets, Writers write Applications of one set at a time;
	// zero is 10 of each.
	Workers, Writers int
}

// Keys of argocd-cmd-params-cm.
const settingPrefix = "applicationsetcontroller."

// DefaultWorkers evaluate sets, and write Applications of one, unless
// something else is asked for.
const DefaultWorkers = 10

// With fills what the flags leave open from argocd-cmd-params-cm. The problems
// name what cannot be used; a policy that is none forbids everything but
// creation.
func (r Rules) With(params map[string]string) (Rules, []string) {
	var problems []string
	text := func(key string) string { return strings.TrimSpace(params[settingPrefix+key]) }
	list := func(into *[]string, key string) {
		for _, s := range strings.Split(text(key), ",") {
			if s = strings.TrimSpace(s); s != "" {
				*into = append(*into, s)
			}
		}
	}
	flag := func(into *bool, key string) {
		if text(key) == "" {
			return
		}
		on, err := strconv.ParseBool(text(key))
		if err != nil {
			problems = append(problems, fmt.Sprintf("ConfigMap/argocd-cmd-params-cm: key %q is neither true nor false: it counts as absent", settingPrefix+key))
			return
		}
		*into = *into || on
	}
	if r.Policy == "" {
		r.Policy = text("policy")
	}
	if r.Policy != "" && !slices.Contains(policies, r.Policy) {
		problems = append(problems, fmt.Sprintf("the policy %q is none of %s: Applications are created and nothing else", r.Policy, strings.Join(policies, ", ")))
		r.Policy = createOnly
	}
	pointer := func(into **bool, key string) {
		if *into == nil && text(key) != "" {
			on := false
			flag(&on, key)
			*into = &on
		}
	}
	pointer(&r.PolicyOverride, "enable.policy.override")
	pointer(&r.SCMProviders, "enable.scm.providers")
	flag(&r.DryRun, "dryrun")
	flag(&r.StrictTokens, "enable.tokenref.strict.mode")
	flag(&r.NewGlobs, "enable.new.git.file.globbing")
	for key, into := range map[string]*[]string{
		"global.preserved.annotations": &r.PreservedAnnotations, "global.preserved.labels": &r.PreservedLabels, "allowed.scm.providers": &r.AllowedSCM,
	} {
		if len(*into) == 0 {
			list(into, key)
		}
	}
	if r.Interval == 0 {
		r.Interval = appset.DefaultInterval
		if d, err := time.ParseDuration(text("requeue.after")); err == nil && d >= time.Second && d <= 8760*time.Hour {
			r.Interval = d
		} else if text("requeue.after") != "" {
			problems = append(problems, fmt.Sprintf("ConfigMap/argocd-cmd-params-cm: key %q is no duration from 1s to 8760h: it counts as absent", settingPrefix+"requeue.after"))
		}
	}
	return r, problems
}

// policies that Applications of a set can have.
var policies = []string{"sync", createOnly, createUpdate, createDelete}

// Policies for created Applications.
const (
	createOnly   = "create-only"
	createUpdate = "create-update"
	createDelete = "create-delete"
)

// policy is the effective policy of a set (spec/applicationset.md §6.1).
func (r Rules) policy(set *v1alpha1.ApplicationSet) (string, error) {
	override := r.Policy == ""
	if r.PolicyOverride != nil {
		override = *r.PolicyOverride
	}
	if p := set.Spec.SyncPolicy; override && p != nil && p.ApplicationsSync != nil && *p.ApplicationsSync != "" {
		if !slices.Contains(policies, *p.ApplicationsSync) {
			return createOnly, fmt.Errorf("spec.syncPolicy.applicationsSync %q is none of %s", *p.ApplicationsSync, strings.Join(policies, ", "))
		}
		return *p.ApplicationsSync, nil
	}
	if r.Policy == "" {
		return "sync", nil
	}
	return r.Policy, nil
}

// effective is the set with its effective policy, so that nothing that reads it
// has to know of the installation's.
func (r Rules) effective(set *v1alpha1.ApplicationSet) (*v1alpha1.ApplicationSet, error) {
	policy, err := r.policy(set)
	if p := set.Spec.SyncPolicy; p != nil && p.ApplicationsSync != nil && *p.ApplicationsSync == policy || policy == "sync" && (p == nil || p.ApplicationsSync == nil) {
		return set, err
	}
	out := set.DeepCopy()
	if out.Spec.SyncPolicy == nil {
		out.Spec.SyncPolicy = &v1alpha1.ApplicationSetSyncPolicy{}
	}
	out.Spec.SyncPolicy.ApplicationsSync = &policy
	return out, err
}

// Watches says whether sets of a namespace are looked at; the control plane's
// always are (spec/applicationset.md §10).
func (r Rules) Watches(namespace, controlPlane string) bool {
	return namespace == controlPlane || policy.Listed(r.Namespaces, namespace)
}

// Check refuses rules under which the controller must not start.
func (r Rules) Check(controlPlane string) error {
	if r.Policy != "" && !slices.Contains(policies, r.Policy) {
		return fmt.Errorf("--policy=%s: want one of %s", r.Policy, strings.Join(policies, ", "))
	}
	if r.Interval != 0 && (r.Interval < time.Second || r.Interval > 8760*time.Hour) {
		return fmt.Errorf("the interval %s of generators is not from 1s to 8760h", r.Interval)
	}
	if r.Writers < 0 || r.Writers > 200 || r.Workers < 0 {
		return fmt.Errorf("--concurrent-application-updates=%d, --concurrent-reconciliations=%d: want 1 to 200, and 1 or more", r.Writers, r.Workers)
	}
	others := slices.ContainsFunc(r.Namespaces, func(n string) bool { return n != controlPlane })
	if others && len(r.AllowedSCM) == 0 && (r.SCMProviders == nil || *r.SCMProviders) {
		return fmt.Errorf("--applicationset-namespaces lets people outside of %s name hosts to which tokens go: list the hosts in --allowed-scm-providers, or set --enable-scm-providers=false", controlPlane)
	}
	return nil
}
