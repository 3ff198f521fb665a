package health

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// job differs from Argo CD in one point: a Job that was suspended and resumed
// (condition Suspended=False) is running, not finished.
func job(o *unstructured.Unstructured, _ []object.Pod) Status {
	var failed, complete, suspended *cond
	for _, c := range conditions(o) {
		switch c.kind {
		case "Failed":
			failed = &c
		case "Complete":
			complete = &c
		case "Suspended":
			suspended = &c
		}
	}
	switch {
	case failed != nil:
		return Status{Degraded, failed.message}
	case complete != nil:
		return Status{Healthy, complete.message}
	case suspended != nil && suspended.status == "True":
		return Status{Suspended, suspended.message}
	}
	return Status{Progressing, "Job is running"}
}

func cronJob(o *unstructured.Unstructured, _ []object.Pod) Status {
	if status, _ := at(o.Object, "status").(map[string]any); len(status) == 0 {
		if truth(o, "spec", "suspend") {
			return Status{Healthy, "CronJob is suspended"}
		}
		return Status{Progressing, "Waiting for the first schedule of the CronJob"}
	}
	scheduled, succeeded := text(o, "status", "lastScheduleTime"), text(o, "status", "lastSuccessfulTime")
	switch {
	case truth(o, "spec", "suspend"):
		return Status{Healthy, "CronJob is suspended"}
	case scheduled == "":
		return Status{Healthy, "CronJob has not been scheduled yet"}
	case succeeded == "":
		return Status{Healthy, "CronJob has not completed yet"}
	case len(list(o, "status", "active")) > 0:
		return Status{Healthy, "CronJob has a running Job"}
	}
	due, errDue := time.Parse(time.RFC3339, scheduled)
	done, errDone := time.Parse(time.RFC3339, succeeded)
	if errDue == nil && errDone == nil && done.Before(due) {
		return Status{Degraded, "The last Job of the CronJob did not succeed"}
	}
	return Status{Code: Healthy}
}
