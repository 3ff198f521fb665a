package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math/big"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/store"
	"github.com/sluice-cd/sluice/internal/server/stream"
)

// AssemblyOptions say what an Assembly is built over.
type AssemblyOptions struct {
	// Hub is filled and watched.
	Hub *store.Hub
	// Find resolves references of secrets.
	Find reference.Lookup
	// Hint and HintSets tell the mirrors and generators of this process; they
	// give nil while there are none.
	Hint     func() func(repo.Push) int
	HintSets func() func(context.Context, appset.Event) error
	// World is what generators read, as far as this process knows it.
	World func() appset.World
	// Repository gives the credential of a repository, to ask its host with;
	// nil asks nobody.
	Repository func(url string) repo.Repository
	// Workers are the events that are looked at at a time, Writers the objects
	// that are marked; 0 is the default of a Dispatcher.
	Workers, Writers int
	Random           io.Reader
	Log              *slog.Logger
	Clock            clock.WithTicker
	Registerer       prometheus.Registerer
}

// Assembly is the receiver of webhooks over the store of a hub.
type Assembly struct {
	*Receiver
	dispatcher *Dispatcher
	index      *Index
	watch      *store.Watch[*v1alpha1.Application]
}

// Assemble makes a receiver that knows the Applications of the hub; Run keeps it
// up to date and does its work.
func Assemble(o AssemblyOptions) (*Assembly, error) {
	a := &Assembly{index: NewIndex(), watch: o.Hub.Apps.Watch(func(*v1alpha1.Application) bool { return true }, true)}
	config := func() map[string]string { return o.Hub.Config(account.ConfigMapName) }
	secrets := func() Secrets {
		s, ok := o.Hub.Secret(account.SecretName)
		if !ok {
			return Secrets{}
		}
		return ParseSecrets(s.Data, o.Find)
	}
	a.dispatcher = NewDispatcher(DispatchOptions{
		Changed: changed(o.Repository, secrets), Index: a.index, Mark: Annotate(o.Hub.Client), Config: config, World: o.World, Log: o.Log, Clock: o.Clock,
		Workers: o.Workers, Writers: o.Writers,
		Hint: func(p repo.Push) int {
			if hint := o.Hint(); hint != nil {
				return hint(p)
			}
			return 0
		},
		HintSets: func(ctx context.Context, ev appset.Event) error {
			if hint := o.HintSets(); hint != nil {
				return hint(ctx, ev)
			}
			return a.dispatcher.markSets(ev)
		},
		Sets: func() []*v1alpha1.ApplicationSet {
			var out []*v1alpha1.ApplicationSet
			for _, s := range o.Hub.Sets.Snapshot().Items {
				out = append(out, s.Object)
			}
			return out
		},
		Random: func(n int64) int64 {
			v, err := rand.Int(o.Random, big.NewInt(n))
			if err != nil {
				return 0
			}
			return v.Int64()
		},
	})
	var err error
	a.Receiver, err = NewReceiver(Options{
		Secrets: secrets, Config: config, Accept: a.dispatcher.Accept, Follows: a.index.Follows, Log: o.Log, Clock: o.Clock, Registerer: o.Registerer,
	})
	return a, err
}

// changed asks Bitbucket Cloud, but only where the sender must know the id of the
// hook.
func changed(repository func(string) repo.Repository, secrets func() Secrets) func(context.Context, Push) ([]string, error) {
	if repository == nil {
		return nil
	}
	d := &Diffstat{Base: "https://api.bitbucket.org", Repository: repository}
	return func(ctx context.Context, p Push) ([]string, error) {
		if secrets().BitbucketUUID == "" {
			return nil, errors.New("webhook.bitbucket.uuid is not set in argocd-secret")
		}
		return d.Files(ctx, p)
	}
}

// Run follows the Applications and works on events until ctx ends.
func (a *Assembly) Run(ctx context.Context) {
	defer a.watch.Stop()
	go a.dispatcher.Run(ctx)
	for {
		changes, err := a.watch.Next(ctx)
		if err != nil {
			return
		}
		for _, c := range changes {
			if c.Kind == stream.Deleted {
				a.index.Delete(client.ObjectKeyFromObject(c.Value.Object))
				continue
			}
			a.index.Set(c.Value.Object)
		}
	}
}
