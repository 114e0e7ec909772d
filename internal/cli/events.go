package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newContainerEvents(a *app) *cobra.Command {
	var on bool
	c := &cobra.Command{
		Use: "events [NAME]", Short: "List what happened to a container, or in the org, oldest first", Args: cobra.MaximumNArgs(1),
		Long: `List what happened to a container, or to all of the org, oldest first. With
--follow new events are printed as they happen, one JSON object a line with -o json.`,
		Example:           "  casemate container events web\n  casemate container events --follow",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			if on {
				return a.followEvents(cmd.Context(), name)
			}
			list, err := a.listEvents(cmd.Context(), name)
			if err != nil {
				return err
			}
			return results(a, list, view.View.Events)
		},
	}
	c.Flags().BoolVarP(&on, "follow", "f", false, "go on with new events")
	return c
}

func (a *app) listEvents(ctx context.Context, name string) ([]*cv1.Event, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return pages(func(token string) ([]*cv1.Event, string, error) {
		r, err := call(ctx, a, l.events.ListEvents, &cv1.ListEventsRequest{Org: l.org, Container: name, PageSize: pageSize, PageToken: token})
		return r.GetEvents(), r.GetNextPageToken(), err
	})
}

// followEvents prints events until ctx ends. After history was lost the ones that
// are kept come again: those up to the last one printed are left out.
func (a *app) followEvents(ctx context.Context, name string) error {
	l, err := a.connect()
	if err != nil {
		return err
	}
	last := ""
	err = follow.Run(ctx, a.env.Patience, follow.Watch[cv1.WatchEventsResponse]{
		Open: func(ctx context.Context, token string) (grpc.ServerStreamingClient[cv1.WatchEventsResponse], error) {
			return l.events.WatchEvents(ctx, &cv1.WatchEventsRequest{Org: l.org, Container: name, ResumeToken: token})
		},
		Token:  (*cv1.WatchEventsResponse).GetResumeToken,
		Broken: a.broken,
		Take: func(m *cv1.WatchEventsResponse) (bool, error) {
			e := m.GetHappened()
			if e == nil || e.GetId() <= last {
				return false, nil
			}
			last = e.GetId()
			return false, a.event(e)
		},
	})
	if ctx.Err() != nil {
		return told(ExitOK, "interrupted")
	}
	return err
}

// event prints one event as it happens: a line, or a YAML document.
func (a *app) event(e *cv1.Event) error {
	if !a.machine() {
		return write(a.env.Out, a.view(a.env.OutTerminal).Event(e)+"\n")
	}
	data, err := encode(e)
	if err != nil {
		return err
	}
	if a.flags.output == "yaml" {
		if err := write(a.env.Out, "---\n"); err != nil {
			return err
		}
		return a.structured(data)
	}
	line, err := json.Marshal(json.RawMessage(data))
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return write(a.env.Out, escaped(string(line))+"\n")
}
