package app

import (
	"context"
	"strconv"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
)

// lookAgain is how often an Application is read although nothing was heard of
// it: an event that got lost must not hold a command for ever.
const lookAgain = 15 * time.Second

// follow hands over an Application now and whenever it changes, until each says
// that it has seen enough; nil is an Application that is gone. States older than
// since, a resource version, are not handed over: a server may answer from a
// cache that has not seen the caller's own write yet.
func (v *verbs) follow(ctx context.Context, c *client.Client, id client.App, since string, each func(*v1alpha1.Application) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan *client.AppEvent, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- c.WatchApps(ctx, client.AppQuery{Name: id.Name, Namespace: id.Namespace}, func(e *client.AppEvent) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	again := v.d.Console.Clock.NewTicker(lookAgain)
	defer again.Stop()
	app, err := exists(ctx, c, id)
	for {
		if err != nil {
			return err
		}
		if app == nil || !older(app.ResourceVersion, since) {
			if enough, err := each(app); enough || err != nil {
				return err
			}
			if app != nil {
				since = app.ResourceVersion // what comes late is old news
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err = <-ended:
			if err == nil || client.CodeOf(err) != 0 {
				// The watch is refused: an Application that is gone is told from
				// one that may not be watched by reading it.
				app, err = nil, nil
				if now, readErr := exists(ctx, c, id); readErr != nil {
					err = readErr
				} else if now != nil {
					app = now
				}
				ended = nil
			}
		case e := <-events:
			app = &e.Application
			if e.Type == "DELETED" {
				app = nil
			}
		case <-again.C():
			app, err = exists(ctx, c, id)
		}
	}
}

// older compares resource versions, which are numbers for all that answer us.
func older(version, than string) bool {
	a, errA := strconv.ParseUint(version, 10, 64)
	b, errB := strconv.ParseUint(than, 10, 64)
	return errA == nil && errB == nil && a < b
}
