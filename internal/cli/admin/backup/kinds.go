package backup

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Kinds of what a hub consists of.
var (
	ConfigMap      = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	Secret         = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	Project        = v1alpha1.GroupVersion.WithKind(v1alpha1.AppProjectKind)
	Application    = v1alpha1.GroupVersion.WithKind(v1alpha1.ApplicationKind)
	ApplicationSet = v1alpha1.GroupVersion.WithKind(v1alpha1.ApplicationSetKind)
)

// Order is that in which objects are restored: an Application finds its project
// and its cluster, an ApplicationSet the Applications that it generates, which it
// then takes over as they are.
var Order = []schema.GroupVersionKind{ConfigMap, Secret, Project, Application, ApplicationSet}

// configMaps hold settings (spec/config.md §1).
var configMaps = []string{
	"argocd-cm", "argocd-rbac-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm", "argocd-gpg-keys-cm", "argocd-notifications-cm", "argocd-cmd-params-cm",
}

// secrets belong to a hub by name. sluice-sessions is the list of tokens that were
// taken back: a hub that is made anew with the old signing key must know it.
var secrets = []string{"argocd-secret", "argocd-notifications-secret", "argocd-server-tls", "sluice-sessions"}

// ownSecrets are made by every hub for itself.
var ownSecrets = []string{"argocd-initial-admin-secret", "argocd-redis", "sluice-internal-authority"}

// labelPartOf marks Secrets that settings may refer to (spec/config.md §3).
const labelPartOf = "app.kubernetes.io/part-of"

// Belongs says whether an object, alone, is part of a hub. Secrets and config
// maps may also be so because an ApplicationSet names them: see References.
func Belongs(o *unstructured.Unstructured) bool {
	switch o.GroupVersionKind() {
	case ConfigMap:
		return slices.Contains(configMaps, o.GetName())
	case Secret:
		if slices.Contains(ownSecrets, o.GetName()) {
			return false
		}
		labels := o.GetLabels()
		return slices.Contains(secrets, o.GetName()) || labels[v1alpha1.LabelSecretType] != "" || labels[labelPartOf] == "argocd"
	}
	return true
}

// expendable says that an object may be deleted because a backup does not hold it.
// Settings never are: files of Argo CD hold only some of them, and a hub without
// its signing key or its project default is none.
func expendable(o *unstructured.Unstructured) bool {
	switch o.GroupVersionKind() {
	case ConfigMap:
		return false
	case Secret:
		return o.GetLabels()[v1alpha1.LabelSecretType] != ""
	case Project:
		return o.GetName() != policy.DefaultProject
	}
	return true
}

// ID names an object of a hub.
type ID struct {
	Kind            schema.GroupVersionKind
	Namespace, Name string
}

func (i ID) String() string { return i.Kind.Kind + " " + i.Namespace + "/" + i.Name }

// IDOf is the name of an object; one without a namespace is in the control plane's.
func IDOf(o *unstructured.Unstructured, controlPlane string) ID {
	ns := o.GetNamespace()
	if ns == "" {
		ns = controlPlane
	}
	return ID{o.GroupVersionKind(), ns, o.GetName()}
}
