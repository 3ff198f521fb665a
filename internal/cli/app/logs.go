package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) logs() *cobra.Command {
	q := &client.LogQuery{}
	var namespace string
	c := &cobra.Command{Use: "logs APPNAME", Short: "Print the logs of pods", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.StringVar(&q.Group, "group", "", "API group of the object whose pods are meant")
	fs.StringVar(&q.Kind, "kind", "", "kind of the object whose pods are meant")
	fs.StringVar(&q.Namespace, "namespace", "", "namespace of the object whose pods are meant")
	fs.StringVar(&q.Name, "name", "", "name of the object whose pods are meant")
	fs.BoolVarP(&q.Follow, "follow", "f", false, "go on as new lines come")
	fs.Int64Var(&q.Tail, "tail", 0, "only that many lines at the end")
	fs.Int64Var(&q.SinceSeconds, "since-seconds", 0, "only lines of that many seconds")
	fs.StringVar(&q.UntilTime, "until-time", "", "only lines up to this time, RFC 3339")
	fs.StringVar(&q.Filter, "filter", "", "only lines with this text; a leading ! leaves them out")
	fs.BoolVarP(&q.MatchCase, "match-case", "m", false, "let case count for --filter")
	fs.StringVarP(&q.Container, "container", "c", "", "container of the pods")
	fs.BoolVarP(&q.Previous, "previous", "p", false, "of containers that ran before")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if q.UntilTime != "" {
			if _, err := time.Parse(time.RFC3339Nano, q.UntilTime); err != nil {
				return fmt.Errorf("--until-time %q is no time like 2006-01-02T15:04:05Z: %w", q.UntilTime, err)
			}
		}
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		return v.pour(cmd.Context(), c, appID(args[0], namespace), *q)
	}
	return c
}

// pour prints logs; with --follow a stream that breaks begins again.
func (v *verbs) pour(ctx context.Context, c *client.Client, id client.App, q client.LogQuery) error {
	for {
		err := c.Logs(ctx, id, q, func(e client.LogEntry) error {
			line := e.Content
			if v.d.Console.OutTerminal {
				line = output.Clean(line) // what a pod writes must not steer the terminal
			}
			_, err := fmt.Fprintln(v.d.Console.Out, line)
			return err
		})
		broken := errors.Is(err, io.ErrUnexpectedEOF) || client.CodeOf(err) == client.Unavailable
		switch {
		case err == nil:
			return nil
		case !q.Follow || !broken || ctx.Err() != nil:
			if errors.Is(err, io.ErrUnexpectedEOF) && !q.Follow {
				return nil // the server said all it had
			}
			return err
		}
		q.SinceSeconds, q.Tail = 1, 0
		t := v.d.Console.Clock.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C():
		}
	}
}
