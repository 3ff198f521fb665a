package store

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Annotations of Secrets that declare clusters and repositories.
const (
	annotationManagedBy = "managed-by"
	managedByArgo       = "argocd.argoproj.io"
	lastApplied         = "kubectl.kubernetes.io/last-applied-configuration"
)

// Declared lists the Secrets of a type (spec/config.md §6), sorted by name.
func (h *Hub) Declared(kind string) []*corev1.Secret {
	var out []*corev1.Secret
	for _, s := range h.Secrets.Snapshot().Items {
		if s.Object.Labels[v1alpha1.LabelSecretType] == kind {
			out = append(out, s.Object)
		}
	}
	return out
}

// Declare creates a Secret of a type. Empty values are left out.
func (h *Hub) Declare(ctx context.Context, name, kind string, data map[string]string) (*corev1.Secret, error) {
	s := &corev1.Secret{Data: map[string][]byte{}, Type: corev1.SecretTypeOpaque}
	s.Name, s.Namespace = name, h.Namespace
	s.Labels = map[string]string{v1alpha1.LabelSecretType: kind}
	s.Annotations = map[string]string{annotationManagedBy: managedByArgo}
	for k, v := range data {
		if v != "" {
			s.Data[k] = []byte(v)
		}
	}
	if err := h.Client.Create(ctx, s); err != nil {
		return nil, err
	}
	h.Secrets.Wrote(s)
	return s, nil
}

// Redeclare lets edit change a Secret and writes it, unless somebody else
// changed it meanwhile.
func (h *Hub) Redeclare(ctx context.Context, old *corev1.Secret, edit func(*corev1.Secret)) (*corev1.Secret, error) {
	next := old.DeepCopy()
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	edit(next)
	for k, v := range next.Data {
		if len(v) == 0 {
			delete(next.Data, k)
		}
	}
	if err := h.Client.Update(ctx, next); err != nil {
		return nil, err
	}
	h.Secrets.Wrote(next)
	return next, nil
}

// Undeclare deletes a Secret that the API made, and takes the label off any
// other: whoever made that decides what becomes of it.
func (h *Hub) Undeclare(ctx context.Context, s *corev1.Secret) error {
	if s.Annotations[annotationManagedBy] != managedByArgo {
		_, err := h.Redeclare(ctx, s, func(next *corev1.Secret) { delete(next.Labels, v1alpha1.LabelSecretType) })
		return err
	}
	uid := s.UID
	if err := h.Client.Delete(ctx, s, client.Preconditions{UID: &uid}); err != nil {
		return err
	}
	h.Secrets.Remove(s)
	return nil
}

// Configure replaces the data of a config map, which is made when it is missing.
func (h *Hub) Configure(ctx context.Context, name string, data map[string]string) error {
	m := &corev1.ConfigMap{}
	err := h.Client.Get(ctx, h.key("", name), m)
	if apierrors.IsNotFound(err) {
		m = &corev1.ConfigMap{Data: data}
		m.Name, m.Namespace = name, h.Namespace
		m.Labels = map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"}
		err = h.Client.Create(ctx, m)
	} else if err == nil {
		m.Data = data
		err = h.Client.Update(ctx, m)
	}
	if err == nil {
		h.ConfigMaps.Wrote(m)
	}
	return err
}

// Shown are the labels or annotations of a Secret that may be shown: not those
// that are ours, nor the copy that kubectl keeps of what was applied.
func Shown(in map[string]string) map[string]string {
	out := maps.Clone(in)
	for _, key := range []string{v1alpha1.LabelSecretType, annotationManagedBy, lastApplied} {
		delete(out, key)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Relabel replaces the labels or annotations that may be shown and keeps the
// others.
func Relabel(old, wanted map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for _, key := range []string{v1alpha1.LabelSecretType, annotationManagedBy, lastApplied} {
		if v, ok := old[key]; ok {
			out[key] = v
		}
		if _, ok := wanted[key]; ok {
			return nil, fault.New(fault.InvalidArgument, "%s cannot be set here", key)
		}
	}
	maps.Copy(out, wanted)
	return out, nil
}
