package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// Await gives the first finding of the heartbeat: it waits until the cluster
// has answered, or has failed to, or until ctx ends.
func (c *Connection) Await(ctx context.Context) State {
	if s := c.State(); s.Status != StatusUnknown {
		return s
	}
	select {
	case <-c.met:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return c.State()
}

// Gather looks once for what a process that has watched for a while would know
// of an Application: it observes what is wanted, waits for the kinds that become
// of it, too, and looks through the others as a scan does, until ctx ends. What
// may not be listed, or is not listed in time, is passed over.
func (c *Connection) Gather(ctx context.Context, w Want) error {
	if _, err := c.Observe(ctx, w); err != nil {
		return err
	}
	c.settle(ctx, w.Children)
	kinds, err := c.unseen(ctx)
	if err != nil {
		c.fleet.options.Log.Debug("scan for kinds incomplete", "cluster", c.cluster.Name, "error", err.Error())
	}
	c.settle(ctx, kinds)
	return ctx.Err()
}

// settle waits for watches, and begins those that there are not.
func (c *Connection) settle(ctx context.Context, kinds []schema.GroupVersionKind) {
	for _, gvk := range kinds {
		w, err := c.watchOf(gvk)
		if err == nil && w != nil {
			err = w.wait(ctx, c)
		}
		if err != nil {
			c.fleet.options.Log.Debug("kind not watched", "cluster", c.cluster.Name, "kind", gvk.String(), "error", err.Error())
		}
	}
}

// startable says why the program that gives the credentials of a cluster must
// not be started here: whoever may write a Secret of the hub would run programs
// where this process does. The one that clouds need is part of this program.
func (o Options) startable(c destination.Cluster) error {
	var in destination.Credentials
	if o.Programs == nil || len(c.Config) == 0 || json.Unmarshal(c.Config, &in) != nil || in.ExecProviderConfig == nil {
		return nil
	}
	if command := in.ExecProviderConfig.Command; command != LoginProgram && !slices.Contains(o.Programs, command) {
		return fmt.Errorf("cluster %s: its Secret wants program %q to be started for credentials, which is not done here unless %s names it", c.Name, command, o.ProgramsFrom)
	}
	return nil
}
