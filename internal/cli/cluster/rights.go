package cluster

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Names of what is made on a target (spec/cli.md §4).
const (
	account     = "argocd-manager"
	role        = "argocd-manager-role"
	binding     = "argocd-manager-role-binding"
	tokenSecret = "argocd-manager-long-lived-token"
	// profileAccount is what the ServiceAccount of a printed profile is called,
	// so that a later cluster add does not widen it.
	profileAccount = "sluice-manager"
)

// rights are what the service account may do.
type rights struct {
	system           string
	namespaces       []string
	readOnly         bool
	clusterResources bool
}

var (
	anything = []string{"*"}
	reading  = []string{"get", "list", "watch"}
)

// everywhere says that there is a ClusterRole: for the whole cluster, or for the
// objects that have no namespace.
func (r rights) everywhere() bool { return len(r.namespaces) == 0 || r.clusterResources }

// rules are those of the role in a namespace, or of the ClusterRole when no
// namespace is named: everything, or everything that is read.
func (r rights) rules() []rbacv1.PolicyRule {
	verbs := anything
	if r.readOnly {
		verbs = reading
	}
	out := []rbacv1.PolicyRule{{APIGroups: anything, Resources: anything, Verbs: verbs}}
	if len(r.namespaces) == 0 {
		web := anything
		if r.readOnly {
			web = []string{"get"}
		}
		out = append(out, rbacv1.PolicyRule{NonResourceURLs: anything, Verbs: web})
	}
	return out
}

// scopeless are the rules for the kinds that have no namespace, as the cluster
// lists them.
func (r rights) scopeless(lists []*metav1.APIResourceList) []rbacv1.PolicyRule {
	verbs := anything
	if r.readOnly {
		verbs = reading
	}
	byGroup := map[string][]string{}
	for _, list := range lists {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for _, one := range list.APIResources {
			if !one.Namespaced && slices.Contains(one.Verbs, "list") && !slices.Contains(byGroup[group], one.Name) {
				byGroup[group] = append(byGroup[group], one.Name)
			}
		}
	}
	var out []rbacv1.PolicyRule
	for group, names := range byGroup {
		slices.Sort(names)
		out = append(out, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: names, Verbs: verbs})
	}
	slices.SortFunc(out, func(a, b rbacv1.PolicyRule) int { return strings.Compare(a.APIGroups[0], b.APIGroups[0]) })
	return out
}

// words say what the service account may do, and how to give less; again is the
// command that gave it.
func (r rights) words(again string) []string {
	where := "in the whole cluster"
	if len(r.namespaces) > 0 {
		where = "in namespaces " + strings.Join(r.namespaces, ", ")
		if r.clusterResources {
			where += ", and with objects that have no namespace (roles too, by which it could take more)"
		}
	}
	what := "do everything"
	if r.readOnly {
		what = "read everything, Secrets too, and change nothing"
	}
	out := []string{fmt.Sprintf("ServiceAccount %s/%s may %s %s.", r.system, account, what, where)}
	if r.readOnly {
		return append(out, "Applications on this cluster show their state; syncs fail.")
	}
	return append(out, "To give less: "+again+" --print-profile")
}

// subject is a service account as bindings name it.
func subject(namespace, name string) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: namespace}}
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

// usual are the kinds that manifests have; a profile lets them be written.
var usual = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"}},
	{APIGroups: []string{"apps"}, Resources: []string{"daemonsets", "deployments", "statefulsets"}},
	{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}},
	{APIGroups: []string{"batch"}, Resources: []string{"cronjobs", "jobs"}},
	{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses", "networkpolicies"}},
	{APIGroups: []string{"policy"}, Resources: []string{"poddisruptionbudgets"}},
}

// least are the rules of a profile: everything is read, and the usual kinds are
// written unless nothing is.
func (r rights) least() []rbacv1.PolicyRule {
	out := []rbacv1.PolicyRule{{APIGroups: anything, Resources: anything, Verbs: reading}}
	if r.readOnly {
		return out
	}
	for _, one := range usual {
		one.Verbs = []string{"create", "update", "patch", "delete"}
		if len(r.namespaces) == 0 && one.APIGroups[0] == "" {
			one.Resources = append([]string{"namespaces"}, one.Resources...)
		}
		out = append(out, one)
	}
	return out
}

// manifest is a profile as YAML: the service account, its role and its binding.
func (r rights) manifest(name string) ([]byte, error) {
	kind := func(k, version string) metav1.TypeMeta { return metav1.TypeMeta{Kind: k, APIVersion: version} }
	const v1 = "rbac.authorization.k8s.io/v1"
	all := []any{&corev1.ServiceAccount{TypeMeta: kind("ServiceAccount", "v1"), ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.system}}}
	if len(r.namespaces) == 0 {
		all = append(all,
			&rbacv1.ClusterRole{TypeMeta: kind("ClusterRole", v1), ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: r.least()},
			&rbacv1.ClusterRoleBinding{TypeMeta: kind("ClusterRoleBinding", v1), ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subject(r.system, name), RoleRef: roleRef("ClusterRole", name)})
	}
	for _, ns := range r.namespaces {
		meta := metav1.ObjectMeta{Name: name, Namespace: ns}
		all = append(all,
			&rbacv1.Role{TypeMeta: kind("Role", v1), ObjectMeta: meta, Rules: r.least()},
			&rbacv1.RoleBinding{TypeMeta: kind("RoleBinding", v1), ObjectMeta: meta, Subjects: subject(r.system, name), RoleRef: roleRef("Role", name)})
	}
	var out bytes.Buffer
	for _, one := range all {
		raw, err := yaml.Marshal(one)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(raw)
	}
	return out.Bytes(), nil
}
