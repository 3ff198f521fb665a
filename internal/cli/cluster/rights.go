package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/cli/client"
)

// Names of what is made on a target (spec/cli.md §4).
const (
	account     = "argocd-manager"
	role        = "argocd-manager-role"
	binding     = "argocd-manager-role-binding"
	tokenSecret = "argocd-manager-long-lived-token"
)

// rights are what the service account may do.
type rights struct {
	system     string
	namespaces []string
	readOnly   bool
}

// rules are those of the role: everything, or everything that is read.
func (r rights) rules() []rbacv1.PolicyRule {
	verbs := []string{"*"}
	if r.readOnly {
		verbs = []string{"get", "list", "watch"}
	}
	out := []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: verbs}}
	if len(r.namespaces) == 0 {
		web := []string{"*"}
		if r.readOnly {
			web = []string{"get"}
		}
		out = append(out, rbacv1.PolicyRule{NonResourceURLs: []string{"*"}, Verbs: web})
	}
	return out
}

// profile says in words what the service account may do, and how to give less.
func (r rights) profile() []string {
	where := "in the whole cluster"
	if len(r.namespaces) > 0 {
		where = "in namespaces " + strings.Join(r.namespaces, ", ")
	}
	what := "everything"
	if r.readOnly {
		what = "read everything, Secrets too, and change nothing"
	}
	out := []string{fmt.Sprintf("ServiceAccount %s/%s may do %s %s.", r.system, account, what, where)}
	if r.readOnly {
		return append(out, "Applications on this cluster show their state; syncs fail.")
	}
	out = append(out,
		"Least privilege: what Sluice itself needs is get, list and watch on the kinds it manages and their children,",
		"and create, patch, update and delete on the kinds in your manifests. To give less, write a Role with those rules,")
	if len(r.namespaces) == 0 {
		out = append(out, "name it "+role+" and repeat this command with --namespace, or bind your own ServiceAccount and use --service-account.")
	} else {
		out = append(out, "bind it to your own ServiceAccount and use --service-account.")
	}
	return out
}

// installer makes things on a target and says so.
type installer struct {
	kube kubernetes.Interface
	say  func(string)
	clk  clock.WithTicker
}

// install makes the service account, its roles, and its token.
func (i *installer) install(ctx context.Context, r rights) (token string, err error) {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: r.system}}
	_, err = i.kube.CoreV1().ServiceAccounts(r.system).Create(ctx, sa, metav1.CreateOptions{})
	if err := i.told("ServiceAccount %q already exists in namespace %q", "ServiceAccount %q created in namespace %q", err, account, r.system); err != nil {
		return "", err
	}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: r.system}}
	if len(r.namespaces) == 0 {
		err = i.clusterWide(ctx, r, subjects)
	}
	for _, ns := range r.namespaces {
		if err == nil {
			err = i.namespaced(ctx, ns, r, subjects)
		}
	}
	if err != nil {
		return "", err
	}
	return i.token(ctx, r.system, account)
}

// told says what became of a creation; only AlreadyExists is no error.
func (i *installer) told(exists, created string, err error, args ...any) error {
	switch {
	case err == nil:
		i.say(fmt.Sprintf(created, args...))
	case apierrors.IsAlreadyExists(err):
		i.say(fmt.Sprintf(exists, args...))
	default:
		return fmt.Errorf("make "+strings.TrimSuffix(fmt.Sprintf(created, args...), " created")+": %w", err)
	}
	return nil
}

func (i *installer) clusterWide(ctx context.Context, r rights, subjects []rbacv1.Subject) error {
	roles, bindings := i.kube.RbacV1().ClusterRoles(), i.kube.RbacV1().ClusterRoleBindings()
	one := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role}, Rules: r.rules()}
	_, err := roles.Create(ctx, one, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = roles.Update(ctx, one, metav1.UpdateOptions{})
		if err == nil {
			i.say(fmt.Sprintf("ClusterRole %q updated", role))
		}
	} else if err == nil {
		i.say(fmt.Sprintf("ClusterRole %q created", role))
	}
	if err != nil {
		return fmt.Errorf("ClusterRole %s: %w", role, err)
	}
	bound := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: binding}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
	_, err = bindings.Create(ctx, bound, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = bindings.Update(ctx, bound, metav1.UpdateOptions{})
		if err == nil {
			i.say(fmt.Sprintf("ClusterRoleBinding %q updated", binding))
		}
	} else if err == nil {
		i.say(fmt.Sprintf("ClusterRoleBinding %q created", binding))
	}
	if err != nil {
		return fmt.Errorf("ClusterRoleBinding %s: %w", binding, err)
	}
	return nil
}

func (i *installer) namespaced(ctx context.Context, ns string, r rights, subjects []rbacv1.Subject) error {
	roles, bindings := i.kube.RbacV1().Roles(ns), i.kube.RbacV1().RoleBindings(ns)
	one := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: role, Namespace: ns}, Rules: r.rules()}
	_, err := roles.Create(ctx, one, metav1.CreateOptions{})
	word := "created"
	if apierrors.IsAlreadyExists(err) {
		word = "updated"
		_, err = roles.Update(ctx, one, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("Role %s/%s: %w", ns, role, err)
	}
	i.say(fmt.Sprintf("Role \"%s/%s\" %s", ns, role, word))
	bound := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: binding, Namespace: ns}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
	}
	_, err = bindings.Create(ctx, bound, metav1.CreateOptions{})
	word = "created"
	if apierrors.IsAlreadyExists(err) {
		word = "updated"
		_, err = bindings.Update(ctx, bound, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("RoleBinding %s/%s: %w", ns, binding, err)
	}
	i.say(fmt.Sprintf("RoleBinding \"%s/%s\" %s", ns, binding, word))
	return nil
}

const (
	tokenEvery = 500 * time.Millisecond
	tokenWait  = 30 * time.Second
)

// token makes a long-lived token of a service account and waits for it.
func (i *installer) token(ctx context.Context, ns, of string) (string, error) {
	secrets := i.kube.CoreV1().Secrets(ns)
	name := tokenSecret
	if of != account {
		name = of + "-long-lived-token"
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Annotations: map[string]string{corev1.ServiceAccountNameKey: of}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	_, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	if err := i.told("Bearer token Secret %q in namespace %q is used again", "Created bearer token Secret %q in namespace %q", err, name, ns); err != nil {
		return "", err
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

// remove takes away what install made.
func (i *installer) remove(ctx context.Context, r rights) error {
	rbac := i.kube.RbacV1()
	steps := []struct {
		what string
		do   func() error
	}{
		{"ClusterRoleBinding " + binding, func() error { return rbac.ClusterRoleBindings().Delete(ctx, binding, metav1.DeleteOptions{}) }},
		{"ClusterRole " + role, func() error { return rbac.ClusterRoles().Delete(ctx, role, metav1.DeleteOptions{}) }},
	}
	for _, ns := range r.namespaces {
		steps = append(steps, struct {
			what string
			do   func() error
		}{"Role " + ns + "/" + role, func() error {
			if err := rbac.RoleBindings(ns).Delete(ctx, binding, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			return rbac.Roles(ns).Delete(ctx, role, metav1.DeleteOptions{})
		}})
	}
	steps = append(steps, struct {
		what string
		do   func() error
	}{"Secret " + tokenSecret, func() error {
		return i.kube.CoreV1().Secrets(r.system).Delete(ctx, tokenSecret, metav1.DeleteOptions{})
	}}, struct {
		what string
		do   func() error
	}{"ServiceAccount " + account, func() error {
		return i.kube.CoreV1().ServiceAccounts(r.system).Delete(ctx, account, metav1.DeleteOptions{})
	}})
	for _, s := range steps {
		switch err := s.do(); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("%s: %w", s.what, err)
		default:
			i.say(s.what + " deleted")
		}
	}
	return nil
}

// forget removes from a cluster what was made there, through the kubeconfig
// context that has its name, or that reaches the same server.
func (v *verbs) forget(ctx context.Context, k *kubeFlags, known *client.Cluster) error {
	cfg, err := k.load()
	if err != nil {
		return err
	}
	name := known.Name
	if cfg.Contexts[name] == nil {
		name = ""
		for _, row := range contexts(cfg) {
			if row[3] == known.Server {
				name = row[1]
			}
		}
	}
	if name == "" {
		return fmt.Errorf("the kubeconfig has no context %q, and none with server %s", known.Name, known.Server)
	}
	t, err := find(cfg, name)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(t.rest)
	if err != nil {
		return fmt.Errorf("context %s: %w", name, err)
	}
	i := &installer{kube: kube, clk: v.d.Console.Clock, say: func(s string) { v.d.Log("info", s) }}
	return i.remove(ctx, rights{system: k.systemNamespace, namespaces: slices.Clone(known.Namespaces)})
}
