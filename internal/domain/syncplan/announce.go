package syncplan

import "github.com/sluice-cd/sluice/api/v1alpha1"

// toBePruned is the result of an object that is going to be deleted. It is
// stored before the deletion: an object that is gone is no task any more, and
// nothing else would tell whoever takes over that it was this operation's.
func toBePruned(t Task) Result {
	return Result{Message: "to be pruned", Version: t.Live.GroupVersionKind().Version}
}

// announced says that a result only tells what is going to be done.
func (r Result) announced() bool { return r.Status == "" && r.Phase == "" }

// known is the result of what has been done at a task.
func (p *progress) known(t Task) (Result, bool) {
	r, known := p.Results[t.ID()]
	return r, known && !r.announced()
}

// tell completes the results of objects that are gone as was announced.
func (p *progress) tell() {
	there := map[TaskID]bool{}
	for _, t := range p.Tasks {
		there[t.ID()] = true
	}
	for id, r := range p.Results {
		if r.announced() && !there[id] {
			r.Status, r.Phase, r.Message = v1alpha1.ResultPruned, v1alpha1.OperationSucceeded, "pruned"
			p.updates[id] = r
		}
	}
}
