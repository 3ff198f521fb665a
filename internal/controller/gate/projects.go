package gate

import (
	"context"
	"fmt"
	"sync"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/window"
)

// Projects knows the projects of a namespace without copying them for each of
// the thousands of Applications that ask.
type Projects struct {
	namespace string
	effective Effective
	mu        sync.RWMutex
	byName    map[string]*v1alpha1.AppProject
}

// Effective gives a project with what it takes over from global ones, which
// find knows.
type Effective func(project *v1alpha1.AppProject, find func(name string) *v1alpha1.AppProject) *v1alpha1.AppProject

// Follow keeps the projects of a namespace at hand; changed is called after
// each change of one.
func Follow(ctx context.Context, c cache.Cache, namespace string, effective Effective, changed func()) (*Projects, error) {
	p := &Projects{namespace: namespace, effective: effective, byName: map[string]*v1alpha1.AppProject{}}
	informer, err := c.GetInformer(ctx, &v1alpha1.AppProject{})
	if err != nil {
		return nil, fmt.Errorf("watch AppProjects: %w", err)
	}
	see := func(o any) { p.put(o, true); changed() }
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, o any) { see(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			p.put(o, false)
			changed()
		},
	}); err != nil {
		return nil, fmt.Errorf("watch AppProjects: %w", err)
	}
	return p, nil
}

func (p *Projects) put(o any, there bool) {
	project, ok := o.(*v1alpha1.AppProject)
	if !ok || project.Namespace != p.namespace {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if there {
		p.byName[project.Name] = project
		return
	}
	delete(p.byName, project.Name)
}

// SyncWindow says whether the sync windows of the Application's project let an
// automatic sync run at now. A project that is not known holds nothing back
// here: the Application itself is invalid then.
func (p *Projects) SyncWindow(app *v1alpha1.Application, now time.Time) window.Verdict {
	p.mu.RLock()
	project := p.byName[policy.ProjectName(app)]
	if project != nil {
		project = p.effective(project, func(name string) *v1alpha1.AppProject { return p.byName[name] })
	}
	p.mu.RUnlock()
	if project == nil {
		return window.Verdict{Allowed: true}
	}
	return policy.SyncWindow(project, app, nil, time.Time{}, now)
}
