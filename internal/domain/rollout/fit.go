package rollout

import (
	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// MaxStatus is how large, in bytes of JSON, the status of an ApplicationSet may
// grow: 1 MiB with room for what the estimate of Size leaves out.
const MaxStatus = 1_000_000

// Fit makes a status small enough to be stored: first resources go, then what
// settled members show beyond the fields of the reference, last their
// revisions and times. Nothing the planner needs is lost, that is in the
// record. It returns the estimated size, and false when even that is too
// large (spec/progressive-sync.md §6.14).
func Fit(s *v1alpha1.ApplicationSetStatus) (size int, ok bool) {
	size = Size(s)
	if size <= MaxStatus {
		return size, true
	}
	s.Resources = nil
	for _, trim := range []func(*v1alpha1.ApplicationSetAppStatus){
		func(a *v1alpha1.ApplicationSetAppStatus) {
			a.Message, a.SpecHash, a.Rollback, a.Batch, a.Attempt = "", "", nil, 0, 0
		},
		func(a *v1alpha1.ApplicationSetAppStatus) { a.TargetRevisions, a.LastTransitionTime = nil, nil },
	} {
		if size = Size(s); size <= MaxStatus {
			return size, true
		}
		for i := range s.ApplicationStatus {
			if settled(&s.ApplicationStatus[i]) {
				trim(&s.ApplicationStatus[i])
			}
		}
	}
	size = Size(s)
	return size, size <= MaxStatus
}

// settled says that a member has nothing to tell.
func settled(a *v1alpha1.ApplicationSetAppStatus) bool {
	return (a.Status == Healthy || a.Status == Waiting) && !failure(a.Reason)
}

// Size estimates the JSON of a status, on the high side.
func Size(s *v1alpha1.ApplicationSetStatus) int {
	n := 4096
	for i := range s.ApplicationStatus {
		n += sizeOf(&s.ApplicationStatus[i])
	}
	for i := range s.Resources {
		r := &s.Resources[i]
		n += 130 + len(r.Group) + len(r.Version) + len(r.Kind) + len(r.Namespace) + len(r.Name) + len(r.Status)
	}
	for _, c := range s.Conditions {
		n += 140 + len(c.Message)
	}
	if r := s.Rollout; r != nil {
		n += len(r.Record) + len(r.Record)/40 + 600*len(r.Steps)
		for _, h := range r.History {
			n += 150 + 300*len(h.Sources)
		}
		for i := range r.Steps {
			n += 300 * len(r.Steps[i].Analysis)
		}
		if r.Target != nil {
			n += 300 * len(r.Target.Sources)
		}
	}
	return n
}

func sizeOf(a *v1alpha1.ApplicationSetAppStatus) int {
	n := 64 + len(a.Application) + len(a.Message) + len(a.Status) + len(a.Step)
	if a.LastTransitionTime != nil {
		n += 46
	}
	if len(a.TargetRevisions) > 0 {
		n += 21
	}
	for _, r := range a.TargetRevisions {
		n += len(r) + 3
	}
	for _, s := range []string{a.Reason, a.SpecHash} {
		if s != "" {
			n += len(s) + 14
		}
	}
	if a.Batch != 0 {
		n += 14
	}
	if a.Attempt != 0 {
		n += 16
	}
	if a.FailedAt != nil {
		n += 35
	}
	if a.Rollback != nil {
		n += 50
		for _, r := range a.Rollback.Revisions {
			n += len(r) + 3
		}
	}
	return n
}
