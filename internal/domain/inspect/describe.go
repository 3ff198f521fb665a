package inspect

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// Of names a live or a desired object.
func Of(u *unstructured.Unstructured) Object {
	gvk := u.GroupVersionKind()
	return Object{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName(), UID: string(u.GetUID())}
}

// Describe gives what is shown of a live object, apart from its health. The
// parents have the namespace of the object; one that is cluster-wide has none,
// which Grow corrects when it knows the parent.
func Describe(u *unstructured.Unstructured) Node {
	n := Node{Object: Of(u), ResourceVersion: u.GetResourceVersion(), Images: syncplan.Images(u)}
	if created := u.GetCreationTimestamp(); !created.IsZero() {
		n.CreatedAt = created.UTC()
	}
	for _, ref := range u.GetOwnerReferences() {
		group, version := "", ref.APIVersion
		if g, v, ok := strings.Cut(ref.APIVersion, "/"); ok {
			group, version = g, v
		}
		n.Parents = append(n.Parents, Object{Group: group, Version: version, Kind: ref.Kind, Namespace: u.GetNamespace(), Name: ref.Name, UID: string(ref.UID)})
	}
	switch {
	case n.Group == "" && n.Kind == "Pod":
		n.Info = podInfo(u)
		n.Networking = &Networking{Labels: u.GetLabels()}
	case n.Group == "apps" && n.Kind == "ReplicaSet":
		if r := u.GetAnnotations()["deployment.kubernetes.io/revision"]; r != "" {
			n.Info = []Info{{"Revision", "Rev:" + r}}
		}
	case n.Group == "" && n.Kind == "Service":
		n.Networking = &Networking{TargetLabels: texts(u.Object, "spec", "selector"), Ingress: addresses(u)}
	case n.Group == "autoscaling" && n.Kind == "HorizontalPodAutoscaler":
		n.Networking = scaled(u)
	case n.Kind == "Ingress" && (n.Group == "networking.k8s.io" || n.Group == "extensions"):
		n.Networking = ingress(u)
	}
	return n
}

// podInfo are the facts that a list of pods shows.
func podInfo(u *unstructured.Unstructured) []Info {
	statuses := list(u.Object, "status", "containerStatuses")
	all, ready, restarts := len(list(u.Object, "spec", "containers")), 0, int64(0)
	reason := text(u.Object, "status", "reason")
	if reason == "" {
		reason = text(u.Object, "status", "phase")
	}
	for _, s := range statuses {
		m, ok := s.(map[string]any)
		if !ok {
			continue
		}
		if m["ready"] == true {
			ready++
		}
		n, _ := m["restartCount"].(int64)
		restarts += n
		for _, state := range []string{"waiting", "terminated"} {
			if why := text(m, "state", state, "reason"); why != "" && why != "Completed" {
				reason = why
			}
		}
	}
	if u.GetDeletionTimestamp() != nil {
		reason = "Terminating"
	}
	var out []Info
	if reason != "" {
		out = append(out, Info{"Status Reason", reason})
	}
	if node := text(u.Object, "spec", "nodeName"); node != "" {
		out = append(out, Info{"Node", node})
	}
	out = append(out, Info{"Containers", fmt.Sprintf("%d/%d", ready, all)})
	if restarts > 0 {
		out = append(out, Info{"Restart Count", fmt.Sprint(restarts)})
	}
	return out
}

// ingress finds the Services behind an Ingress and the URLs that lead to it.
func ingress(u *unstructured.Unstructured) *Networking {
	out := &Networking{Ingress: addresses(u)}
	secure := map[string]bool{}
	for _, t := range list(u.Object, "spec", "tls") {
		m, _ := t.(map[string]any)
		hosts := list(m, "hosts")
		for _, h := range hosts {
			if host, ok := h.(string); ok {
				secure[host] = true
			}
		}
		if len(hosts) == 0 {
			secure[""] = true
		}
	}
	service := func(backend map[string]any) {
		name := text(backend, "service", "name")
		if name == "" {
			name = text(backend, "serviceName")
		}
		ref := Object{Version: "v1", Kind: "Service", Namespace: u.GetNamespace(), Name: name}
		if name != "" && !slices.Contains(out.TargetRefs, ref) {
			out.TargetRefs = append(out.TargetRefs, ref)
		}
	}
	spec, _ := u.Object["spec"].(map[string]any)
	for _, key := range []string{"defaultBackend", "backend"} {
		if b, ok := spec[key].(map[string]any); ok {
			service(b)
		}
	}
	for _, r := range list(u.Object, "spec", "rules") {
		rule, _ := r.(map[string]any)
		host := text(rule, "host")
		for _, p := range list(rule, "http", "paths") {
			path, _ := p.(map[string]any)
			if b, ok := path["backend"].(map[string]any); ok {
				service(b)
			}
			out.addURL(host, text(path, "path"), secure[host] || secure[""])
		}
	}
	return out
}

// scaled finds what an autoscaler scales.
func scaled(u *unstructured.Unstructured) *Networking {
	ref := Object{Kind: text(u.Object, "spec", "scaleTargetRef", "kind"), Namespace: u.GetNamespace(), Name: text(u.Object, "spec", "scaleTargetRef", "name")}
	if ref.Kind == "" || ref.Name == "" {
		return nil
	}
	if gv, err := schema.ParseGroupVersion(text(u.Object, "spec", "scaleTargetRef", "apiVersion")); err == nil {
		ref.Group, ref.Version = gv.Group, gv.Version
	}
	return &Networking{TargetRefs: []Object{ref}}
}

// linkPrefix is that of annotations that name where people reach something.
const linkPrefix = "link.argocd.argoproj.io/"

// maxLinks bounds the links of one object.
const maxLinks = 20

// Links are those that annotations name, url or title|url, sorted. What does
// not lead to a web page is left out.
func Links(annotations map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if !strings.HasPrefix(key, linkPrefix) || len(out) == maxLinks {
			continue
		}
		value := strings.TrimSpace(annotations[key])
		address := value[strings.LastIndex(value, "|")+1:]
		if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			out = append(out, value)
		}
	}
	return out
}

// URLs are where people reach a live object: what its annotations name, and
// the hosts of an Ingress.
func URLs(u *unstructured.Unstructured) []string {
	var out []string
	if annotations, ok := at(u.Object, "metadata", "annotations").(map[string]any); ok {
		links := map[string]string{}
		for key, value := range annotations {
			if text, isText := value.(string); isText && strings.HasPrefix(key, linkPrefix) {
				links[key] = text
			}
		}
		out = Links(links)
	}
	if u.GetKind() == "Ingress" {
		if n := Describe(u).Networking; n != nil {
			out = append(out, n.ExternalURLs...)
		}
	}
	return out
}

// addURL notes where the path of a host is reached; without a host, at each
// address of the load balancer.
func (n *Networking) addURL(host, path string, secure bool) {
	hosts := []string{host}
	if host == "" {
		hosts = nil
		for _, a := range n.Ingress {
			if a.Hostname != "" {
				hosts = append(hosts, a.Hostname)
			} else {
				hosts = append(hosts, a.IP)
			}
		}
	}
	for _, h := range hosts {
		if strings.Contains(h, "*") || h == "" {
			continue
		}
		scheme := "http://"
		if secure {
			scheme = "https://"
		}
		link := scheme + h + strings.TrimSuffix(strings.TrimSuffix(path, "*"), "/")
		if !slices.Contains(n.ExternalURLs, link) {
			n.ExternalURLs = append(n.ExternalURLs, link)
		}
	}
}

func addresses(u *unstructured.Unstructured) []Address {
	var out []Address
	for _, a := range list(u.Object, "status", "loadBalancer", "ingress") {
		if m, ok := a.(map[string]any); ok {
			out = append(out, Address{Hostname: text(m, "hostname"), IP: text(m, "ip")})
		}
	}
	return out
}

func at(o map[string]any, path ...string) any {
	var v any = o
	for _, field := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[field]
	}
	return v
}

func list(o map[string]any, path ...string) []any {
	out, _ := at(o, path...).([]any)
	return out
}

func text(o map[string]any, path ...string) string {
	out, _ := at(o, path...).(string)
	return out
}

func texts(o map[string]any, path ...string) map[string]string {
	m, ok := at(o, path...).(map[string]any)
	if !ok {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}
