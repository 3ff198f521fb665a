package health

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// container is what is read of one container status.
type container struct {
	name, waiting, waitingMessage string
	ready                         bool
	// ended and last are the present and the last termination, nil without.
	ended, last map[string]any
}

func containers(o *unstructured.Unstructured, field string) []container {
	var out []container
	for _, item := range list(o, "status", field) {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		c := container{name: inner(m, "name"), waiting: inner(m, "state", "waiting", "reason"), waitingMessage: inner(m, "state", "waiting", "message")}
		c.ready, _ = m["ready"].(bool)
		c.ended, _ = at(m, "state", "terminated").(map[string]any)
		c.last, _ = at(m, "lastState", "terminated").(map[string]any)
		out = append(out, c)
	}
	return out
}

func allContainers(o *unstructured.Unstructured) []container {
	return slices.Concat(containers(o, "initContainerStatuses"), containers(o, "containerStatuses"))
}

func pod(o *unstructured.Unstructured, _ []object.Pod) Status {
	policy := text(o, "spec", "restartPolicy")
	always := policy == "" || policy == "Always"
	if always {
		if faults := waitingFaults(o); len(faults) > 0 {
			return Status{Degraded, joined(faults)}
		}
	}
	message := text(o, "status", "message")
	switch text(o, "status", "phase") {
	case "Pending":
		return Status{Progressing, message}
	case "Succeeded":
		return Status{Healthy, message}
	case "Failed":
		return Status{Degraded, first(message, failure(o))}
	case "Running":
		if !always {
			return Status{Progressing, message}
		}
		return running(o, message)
	}
	return Status{Unknown, message}
}

func running(o *unstructured.Unstructured, message string) Status {
	if condition(o, "Ready").status == "True" {
		return Status{Healthy, message}
	}
	for _, c := range containers(o, "containerStatuses") {
		if c.last != nil {
			return Status{Degraded, message}
		}
	}
	return Status{Progressing, message}
}

// waitingFaults words the containers that wait because of an error.
func waitingFaults(o *unstructured.Unstructured) []string {
	var out []string
	for _, c := range allContainers(o) {
		if strings.HasPrefix(c.waiting, "Err") || strings.HasSuffix(c.waiting, "Error") || strings.HasSuffix(c.waiting, "BackOff") {
			out = append(out, first(c.waitingMessage, fmt.Sprintf("container %q: %s", c.name, c.waiting)))
		}
	}
	return out
}

// failure words the first container that ended badly.
func failure(o *unstructured.Unstructured) string {
	for _, c := range allContainers(o) {
		if c.ended == nil {
			continue
		}
		if message := inner(c.ended, "message"); message != "" {
			return message
		}
		if inner(c.ended, "reason") == oomKilled {
			return oomKilled
		}
		if code := number(c.ended["exitCode"], 0); code != 0 {
			return fmt.Sprintf("container %q failed with exit code %d", c.name, code)
		}
	}
	return ""
}

// PodOf reduces a pod to the record that is kept of it: of several containers
// the one that is worst off.
func PodOf(o *unstructured.Unstructured) object.Pod {
	p := object.Pod{Namespace: o.GetNamespace(), Name: o.GetName()}
	for _, ref := range o.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller {
			p.Owner = string(ref.UID)
		}
	}
	labels := o.GetLabels()
	p.Revision = first(labels["pod-template-hash"], labels["controller-revision-hash"])
	p.TemplateGeneration = labels["pod-template-generation"]
	p.Ready = condition(o, "Ready").status == "True"
	worst := 0
	for _, c := range allContainers(o) {
		ended := first(inner(c.ended, "reason"), inner(c.last, "reason"))
		rank := 0
		switch {
		case slices.Contains(stuck, c.waiting):
			rank = 4
		case ended == oomKilled && !c.ready:
			rank = 3
		case c.waiting != "":
			rank = 2
		case ended != "" && !c.ready:
			rank = 1
		}
		if rank > worst {
			worst, p.Container, p.Waiting, p.Terminated = rank, c.name, c.waiting, ended
			p.Message = line(c.waitingMessage)
		}
	}
	return p
}

// maxLine bounds what is kept of a text that others wrote, in runes.
const maxLine = 200

func line(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if runes := []rune(text); len(runes) > maxLine {
		return string(runes[:maxLine]) + "..."
	}
	return text
}

// Held words what keeps pods from starting, "" when nothing does: the first
// pod by name with a container that waits because of an error.
func Held(pods []object.Pod) string {
	var worst *object.Pod
	for i, p := range pods {
		waits := strings.HasPrefix(p.Waiting, "Err") || strings.HasSuffix(p.Waiting, "Error") || strings.HasSuffix(p.Waiting, "BackOff")
		if waits && (worst == nil || p.Name < worst.Name) {
			worst = &pods[i]
		}
	}
	if worst == nil {
		return ""
	}
	text := fmt.Sprintf("pod %s, container %s: %s", worst.Name, worst.Container, worst.Waiting)
	if worst.Message != "" {
		text += ": " + worst.Message
	}
	return text
}
