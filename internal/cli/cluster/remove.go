package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/cli/client"
)

// forget removes from a cluster what cluster add made there, through the
// kubeconfig context that has its name, or that reaches the same server.
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
	kube, err := t.kube()
	if err != nil {
		return err
	}
	return v.installer(kube, false).remove(ctx, k.systemNamespace, known)
}

// remove takes away what install made. When the cluster was reached with the
// token of another service account, that token is what was made, and nothing
// else.
func (i *installer) remove(ctx context.Context, system string, known *client.Cluster) error {
	lent, err := i.lent(ctx, system, known.Server)
	if err != nil {
		return err
	}
	for _, name := range lent {
		if err := take(ctx, i, i.kube.CoreV1().Secrets(system), item{"Secret", system, name}); err != nil {
			return err
		}
	}
	if len(lent) > 0 {
		return nil
	}
	all, err := i.spaces(ctx)
	if err != nil { // then what the registration says has to do
		all = slices.Clone(known.Namespaces)
	}
	if system, err = i.home(ctx, all, system); err != nil {
		return err
	}
	rbac := i.kube.RbacV1()
	if err := take(ctx, i, rbac.ClusterRoleBindings(), item{"ClusterRoleBinding", "", binding}); err != nil {
		return err
	}
	if err := take(ctx, i, rbac.ClusterRoles(), item{"ClusterRole", "", role}); err != nil {
		return err
	}
	for _, ns := range all {
		if err := i.leave(ctx, ns); err != nil {
			return err
		}
	}
	if err := take(ctx, i, i.kube.CoreV1().Secrets(system), item{"Secret", system, tokenSecret}); err != nil {
		return err
	}
	return take(ctx, i, i.kube.CoreV1().ServiceAccounts(system), item{"ServiceAccount", system, account})
}

// lent are the Secrets with tokens that were made of service accounts of others
// for a cluster.
func (i *installer) lent(ctx context.Context, system, server string) ([]string, error) {
	list, err := i.kube.CoreV1().Secrets(system).List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeServiceAccountToken)})
	if err != nil {
		return nil, fmt.Errorf("Secrets in namespace %s: %w", system, err)
	}
	var out []string
	for _, one := range list.Items {
		if one.Annotations[madeFor] == server {
			out = append(out, one.Name)
		}
	}
	return out, nil
}

// home is the namespace of the service account, as bindings name it; otherwise
// is what holds without any.
func (i *installer) home(ctx context.Context, namespaces []string, otherwise string) (string, error) {
	in := func(all []rbacv1.Subject) string {
		for _, s := range all {
			if s.Kind == rbacv1.ServiceAccountKind && s.Name == account {
				return s.Namespace
			}
		}
		return ""
	}
	one, err := i.kube.RbacV1().ClusterRoleBindings().Get(ctx, binding, metav1.GetOptions{})
	if err == nil && in(one.Subjects) != "" {
		return in(one.Subjects), nil
	}
	for _, ns := range namespaces {
		one, err := i.kube.RbacV1().RoleBindings(ns).Get(ctx, binding, metav1.GetOptions{})
		if err == nil && in(one.Subjects) != "" {
			return in(one.Subjects), nil
		}
	}
	return otherwise, ctx.Err()
}
