package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// installer makes things on a target and says so.
type installer struct {
	kube kubernetes.Interface
	say  func(string)
	warn func(string)
	clk  clock.WithTicker
	// keep leaves alone what is there and gives other rights than asked for.
	keep bool
}

func (v *verbs) installer(kube kubernetes.Interface, keep bool) *installer {
	return &installer{
		kube: kube, clk: v.d.Console.Clock, keep: keep,
		say: func(s string) { v.d.Log("info", s) }, warn: func(s string) { v.d.Log("warn", s) },
	}
}

// install makes the service account, gives it the rights that are asked for and
// no others, and returns its token.
func (i *installer) install(ctx context.Context, r rights) (token string, err error) {
	if err := i.present(ctx, append([]string{r.system}, r.namespaces...)); err != nil {
		return "", err
	}
	if err := i.narrow(ctx, r); err != nil {
		return "", err
	}
	if err := i.account(ctx, r.system); err != nil {
		return "", err
	}
	if r.everywhere() {
		err = i.clusterWide(ctx, r)
	}
	for _, ns := range r.namespaces {
		if err == nil {
			err = i.namespaced(ctx, ns, r)
		}
	}
	if err != nil {
		return "", err
	}
	return i.token(ctx, r.system, account, nil)
}

// account makes the service account.
func (i *installer) account(ctx context.Context, system string) error {
	one := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: system}}
	_, err := i.kube.CoreV1().ServiceAccounts(system).Create(ctx, one, metav1.CreateOptions{})
	switch {
	case err == nil:
		i.say(fmt.Sprintf("ServiceAccount %q created in namespace %q", account, system))
	case apierrors.IsAlreadyExists(err):
		i.say(fmt.Sprintf("ServiceAccount %q already exists in namespace %q", account, system))
	default:
		return fmt.Errorf("make ServiceAccount %s/%s: %w", system, account, err)
	}
	return nil
}

// present refuses namespaces that do not exist, before anything is written.
func (i *installer) present(ctx context.Context, namespaces []string) error {
	for _, ns := range namespaces {
		_, err := i.kube.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return fail.New("create it on the target first: kubectl create namespace "+ns, "namespace %q does not exist on the cluster", ns)
		case err != nil && !apierrors.IsForbidden(err): // who may not look finds out by writing
			return fmt.Errorf("namespace %s: %w", ns, err)
		}
	}
	return nil
}

// narrow takes away what an earlier cluster add gave and this one does not.
func (i *installer) narrow(ctx context.Context, r rights) error {
	rbac := i.kube.RbacV1()
	if !r.everywhere() {
		if err := take(ctx, i, rbac.ClusterRoleBindings(), item{"ClusterRoleBinding", "", binding}); err != nil {
			return err
		}
		if err := take(ctx, i, rbac.ClusterRoles(), item{"ClusterRole", "", role}); err != nil {
			return err
		}
	}
	all, err := i.spaces(ctx)
	if err != nil {
		i.warn("whether the ServiceAccount has rights in other namespaces, too, is not known: " + err.Error())
	}
	for _, ns := range all {
		if slices.Contains(r.namespaces, ns) {
			continue
		}
		if err := i.leave(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}

// spaces are the namespaces in which cluster add has written.
func (i *installer) spaces(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	roles, err := i.kube.RbacV1().Roles(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + role})
	if err != nil {
		return nil, fmt.Errorf("list Roles: %w", err)
	}
	for _, one := range roles.Items {
		found[one.Namespace] = true
	}
	bindings, err := i.kube.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + binding})
	if err != nil {
		return nil, fmt.Errorf("list RoleBindings: %w", err)
	}
	for _, one := range bindings.Items {
		found[one.Namespace] = true
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// leave takes away what is in a namespace.
func (i *installer) leave(ctx context.Context, ns string) error {
	if err := take(ctx, i, i.kube.RbacV1().RoleBindings(ns), item{"RoleBinding", ns, binding}); err != nil {
		return err
	}
	return take(ctx, i, i.kube.RbacV1().Roles(ns), item{"Role", ns, role})
}

func (i *installer) clusterWide(ctx context.Context, r rights) error {
	rules := r.rules()
	if len(r.namespaces) > 0 {
		_, lists, err := i.kube.Discovery().ServerGroupsAndResources()
		if err != nil && len(lists) == 0 {
			return fmt.Errorf("kinds of the cluster: %w", err)
		}
		if err != nil {
			i.warn("not all kinds of the cluster are known, and those that are missing get no rights: " + err.Error())
		}
		rules = r.scopeless(lists)
	}
	one := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role}, Rules: rules}
	err := put(ctx, i, i.kube.RbacV1().ClusterRoles(), item{"ClusterRole", "", role}, shape[rbacv1.ClusterRole]{
		want: one, same: func(h *rbacv1.ClusterRole) bool {
			return h.AggregationRule == nil && equality.Semantic.DeepEqual(h.Rules, one.Rules)
		},
	})
	if err != nil {
		return err
	}
	bound := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding}, Subjects: subject(r.system, account), RoleRef: roleRef("ClusterRole", role)}
	return put(ctx, i, i.kube.RbacV1().ClusterRoleBindings(), item{"ClusterRoleBinding", "", binding}, shape[rbacv1.ClusterRoleBinding]{
		want: bound,
		same: func(h *rbacv1.ClusterRoleBinding) bool {
			return bindsSame(h.Subjects, bound.Subjects, h.RoleRef, bound.RoleRef)
		},
		fixed: func(h *rbacv1.ClusterRoleBinding) bool { return h.RoleRef != bound.RoleRef },
	})
}

func (i *installer) namespaced(ctx context.Context, ns string, r rights) error {
	one := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: role, Namespace: ns}, Rules: r.rules()}
	err := put(ctx, i, i.kube.RbacV1().Roles(ns), item{"Role", ns, role}, shape[rbacv1.Role]{
		want: one, same: func(h *rbacv1.Role) bool { return equality.Semantic.DeepEqual(h.Rules, one.Rules) },
	})
	if err != nil {
		return err
	}
	bound := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding, Namespace: ns}, Subjects: subject(r.system, account), RoleRef: roleRef("Role", role)}
	return put(ctx, i, i.kube.RbacV1().RoleBindings(ns), item{"RoleBinding", ns, binding}, shape[rbacv1.RoleBinding]{
		want: bound,
		same: func(h *rbacv1.RoleBinding) bool {
			return bindsSame(h.Subjects, bound.Subjects, h.RoleRef, bound.RoleRef)
		},
		fixed: func(h *rbacv1.RoleBinding) bool { return h.RoleRef != bound.RoleRef },
	})
}

func bindsSame(a, b []rbacv1.Subject, roleA, roleB rbacv1.RoleRef) bool {
	return roleA == roleB && equality.Semantic.DeepEqual(a, b)
}

const (
	tokenEvery = 500 * time.Millisecond
	tokenWait  = 30 * time.Second
	// madeFor is the annotation that says which cluster a token of a service
	// account, that is not ours, was made for: cluster rm takes it away.
	madeFor = "argocd.argoproj.io/cluster"
)

// tokenOf makes a token of a service account that is there already.
func (i *installer) tokenOf(ctx context.Context, ns, of, server string) (string, error) {
	_, err := i.kube.CoreV1().ServiceAccounts(ns).Get(ctx, of, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", fail.New("create it, or name its namespace with --system-namespace", "ServiceAccount %q does not exist in namespace %q of the cluster", of, ns)
	}
	if err != nil {
		return "", fmt.Errorf("ServiceAccount %s/%s: %w", ns, of, err)
	}
	return i.token(ctx, ns, of, map[string]string{madeFor: server})
}

// token makes a long-lived token of a service account and waits for it.
func (i *installer) token(ctx context.Context, ns, of string, marks map[string]string) (string, error) {
	secrets := i.kube.CoreV1().Secrets(ns)
	name := tokenSecret
	if of != account {
		name = of + "-long-lived-token"
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Annotations: map[string]string{corev1.ServiceAccountNameKey: of}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	maps.Copy(secret.Annotations, marks)
	_, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	switch {
	case err == nil:
		i.say(fmt.Sprintf("Created bearer token Secret %q in namespace %q", name, ns))
	case apierrors.IsAlreadyExists(err):
		i.say(fmt.Sprintf("Bearer token Secret %q in namespace %q is used again", name, ns))
	default:
		return "", fmt.Errorf("make Secret %s/%s: %w", ns, name, err)
	}
	until := i.clk.Now().Add(tokenWait)
	tick := i.clk.NewTicker(tokenEvery)
	defer tick.Stop()
	for {
		got, err := secrets.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("Secret %s/%s: %w", ns, name, err)
		}
		if got.Annotations[corev1.ServiceAccountNameKey] != of || got.Type != corev1.SecretTypeServiceAccountToken {
			return "", fmt.Errorf("Secret %s/%s is no token of ServiceAccount %s: delete it, and try again", ns, name, of)
		}
		if token := got.Data[corev1.ServiceAccountTokenKey]; len(token) > 0 {
			return string(token), nil
		}
		if i.clk.Now().After(until) {
			return "", fmt.Errorf("Secret %s/%s got no token within %s: does the token controller of the cluster run?", ns, name, tokenWait)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick.C():
		}
	}
}
