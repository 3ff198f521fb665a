package admin

import (
	"context"
	"fmt"
	"strings"

	"github.com/gobwas/glob"
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// modeFlags are those of the verbs that restrict clusters to namespaces.
type modeFlags struct {
	on, dryRun, clusterResources bool
	most                         int
}

// namespacedMode restricts clusters to the namespaces that Applications use, or
// takes the restriction back.
func (v *verbs) namespacedMode(on bool) *cobra.Command {
	f := &modeFlags{on: on}
	c := &cobra.Command{Use: "disable-namespaced-mode PATTERN", Short: "Let clusters be managed as a whole again", Args: command.Args(1, 1)}
	if on {
		c.Use, c.Short = "enable-namespaced-mode PATTERN", "Restrict clusters to the namespaces that Applications use"
		c.Flags().BoolVar(&f.clusterResources, "cluster-resources", false, "also manage cluster-scoped objects")
		c.Flags().IntVar(&f.most, "namespace-count", 0, "only clusters of which at most so many namespaces are used; 0 is all")
	}
	c.Flags().BoolVar(&f.dryRun, "dry-run", true, "only say what would be done")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		pattern, err := glob.Compile(args[0])
		if err != nil {
			return fail.New("write a server URL, with * for any text", "%q is no pattern: %w", args[0], err)
		}
		h, err := v.connect()
		if err != nil {
			return err
		}
		all, err := h.figures(cmd.Context())
		if err != nil {
			return err
		}
		found := false
		for i := range all {
			if !pattern.Match(all[i].Server) {
				continue
			}
			found = true
			if err := v.restrict(cmd.Context(), h, f, &all[i]); err != nil {
				return fmt.Errorf("cluster %s: %w", all[i].Server, err)
			}
		}
		if !found {
			return fail.New(v.Dialer.Console.Name+" admin cluster stats lists the servers", "no cluster has a server like %q", args[0])
		}
		return nil
	}
	return c
}

// restrict changes the registration of one cluster, and says so.
func (v *verbs) restrict(ctx context.Context, h *hub, f *modeFlags, cluster *figures) error {
	say := func(text string) { v.Dialer.Console.Printf("%s: %s\n", cluster.Server, text) }
	if cluster.secret == nil {
		say("left alone: it is the hub, which no Secret declares")
		return nil
	}
	next := cluster.secret.DeepCopy()
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	delete(next.Data, "clusterResources")
	text := "all namespaces"
	switch used := strings.Join(cluster.Namespaces, ","); {
	case !f.on:
		delete(next.Data, "namespaces")
	case used == "":
		say("left alone: no Application uses a namespace of it")
		return nil
	case f.most > 0 && len(cluster.Namespaces) > f.most:
		say(fmt.Sprintf("left alone: %d of its namespaces are used", len(cluster.Namespaces)))
		return nil
	default:
		next.Data["namespaces"] = []byte(used)
		if f.clusterResources {
			next.Data["clusterResources"] = []byte("true")
		}
		text = "namespaces " + used
	}
	if f.dryRun {
		say(text + " (dry run)")
		return nil
	}
	if err := h.client.Update(ctx, next); err != nil {
		return err
	}
	say(text)
	return nil
}
