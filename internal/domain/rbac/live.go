package rbac

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
)

// Live answers with the newest argocd-rbac-cm and the newest projects. A
// policy that cannot be read changes nothing.
type Live struct {
	settings atomic.Pointer[Settings]
	layers   sync.Map // name of a project to *Layer
	mu       sync.Mutex
	projects map[string]*v1alpha1.AppProject
	// lookup is project as a value, made once: every check needs it.
	lookup func(name string) (*Layer, bool)
}

var (
	_ access.Decider = (*Live)(nil)
	_ access.Sifter  = (*Live)(nil)
)

// NewLive answers with the built-in policy until it is told more.
func NewLive() *Live {
	l := &Live{projects: map[string]*v1alpha1.AppProject{}}
	l.lookup = l.project
	l.settings.Store(&Settings{Policy: Compile(Glob, Builtin()), Scopes: []string{"groups"}})
	return l
}

// Load takes the data of argocd-rbac-cm over; nil is a missing config map.
// After an error, which names key and line, the previous policy stays. The
// problems are what was taken over and has no effect; those of projects whose
// roles cannot be used are among them.
func (l *Live) Load(data map[string]string) (problems []error, err error) {
	next, err := ParseSettings(data, true)
	if err != nil {
		return nil, fmt.Errorf("%w: the previous policy stays", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.settings.Load()
	problems = append(problems, next.Policy.Problems...)
	if before.Policy.Mode() != next.Policy.Mode() {
		for _, p := range l.projects {
			problems = append(problems, l.compile(next.Policy.Mode(), p)...)
		}
	}
	l.settings.Store(&next)
	return problems, nil
}

// SetProject takes the roles of a new or changed project over. The problems
// name the role and the policy; when its policies cannot be read the roles of
// the project grant nothing and the global policy counts (spec/rbac.md §5).
func (l *Live) SetProject(p *v1alpha1.AppProject) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.projects[p.Name] = p
	return l.compile(l.settings.Load().Policy.Mode(), p)
}

func (l *Live) compile(mode Mode, p *v1alpha1.AppProject) []error {
	layer, err := CompileProject(mode, p)
	l.layers.Store(p.Name, layer)
	if err != nil {
		return []error{fmt.Errorf("%w: the roles of the project grant nothing until it is corrected", err)}
	}
	return layer.problems
}

// DeleteProject forgets a project.
func (l *Live) DeleteProject(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.projects, name)
	l.layers.Delete(name)
}

// Settings are the newest ones that could be read.
func (l *Live) Settings() Settings { return *l.settings.Load() }

// Rules are the rules of this moment; those of projects stay live.
func (l *Live) Rules() Rules {
	s := l.settings.Load()
	return Rules{Policy: s.Policy, DefaultRole: s.DefaultRole, Project: l.lookup}
}

func (l *Live) project(name string) (*Layer, bool) {
	layer, ok := l.layers.Load(name)
	if !ok {
		return nil, false
	}
	return layer.(*Layer), true
}

// Allowed answers a request.
func (l *Live) Allowed(who access.Principal, what access.Request) bool {
	return l.Rules().Allowed(who, what)
}

// Sift answers for many objects; see Rules.
func (l *Live) Sift(who access.Principal, resource, action string) func(object string) bool {
	return l.Rules().Sift(who, resource, action)
}

// Explain answers a request and says why.
func (l *Live) Explain(who access.Principal, what access.Request) Decision {
	return l.Rules().Explain(who, what)
}
