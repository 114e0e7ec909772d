package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/follow"
	"github.com/casemate-dev/casemate/internal/cli/view"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func newContainerStop(a *app) *cobra.Command {
	var g goFlags
	c := &cobra.Command{
		Use: "stop NAME", Short: "Stop what runs; name, domain and settings stay", Args: cobra.ExactArgs(1),
		Example:           "  casemate container stop web",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.stop(cmd.Context(), args[0], g)
		},
	}
	g.register(c)
	return c
}

func (a *app) stop(ctx context.Context, name string, g goFlags) error {
	if err := a.canAsk(g.yes, "stops"); err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	checked, err := call(ctx, a, l.containers.StopContainer, &cv1.StopContainerRequest{Org: l.org, Name: name, ValidateOnly: true})
	if err != nil {
		return err
	}
	if !g.yes {
		v := a.view(a.env.ErrTerminal)
		if err := a.confirm(ctx, v.Ask(checked.GetContainer())+"\nStop it? Clients are refused until it is started again."); err != nil {
			return err
		}
	}
	r, err := call(ctx, a, l.containers.StopContainer, &cv1.StopContainerRequest{Org: l.org, Name: same(checked, name), RequestId: a.env.NewID()})
	if err != nil {
		return err
	}
	return a.goes(ctx, g, r.GetContainer(), func(c *cv1.Container) (bool, error) {
		switch c.GetStatus() {
		case cv1.ContainerStatus_CONTAINER_STATUS_STOPPED:
			return true, nil
		case cv1.ContainerStatus_CONTAINER_STATUS_STOPPING:
			return false, nil
		}
		return true, failedf("%s is %s instead of stopped: %s", c.GetName(), view.ContainerStatus(c.GetStatus()), first(c.GetText(), "someone else changed it meanwhile"))
	})
}

func newContainerDelete(a *app) *cobra.Command {
	var g goFlags
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete a container for good", Args: cobra.ExactArgs(1),
		Long: `Delete a container for good, also in the middle of an update: its enclaves are
stopped, an update in progress is cancelled, its settings, variables and secret
bindings are removed. This is irreversible. Its name has to be typed, unless
--yes is given.`,
		Example:           "  casemate container delete web",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.remove(cmd.Context(), args[0], g)
		},
	}
	g.register(c)
	return c
}

func (a *app) remove(ctx context.Context, name string, g goFlags) error {
	if err := a.canAsk(g.yes, "deletes"); err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	checked, err := call(ctx, a, l.containers.DeleteContainer, &cv1.DeleteContainerRequest{Org: l.org, Name: name, ValidateOnly: true})
	if err != nil {
		return err
	}
	if !g.yes {
		c := checked.GetContainer()
		v := a.view(a.env.ErrTerminal)
		question := v.Ask(c) + "\nDeleting it is irreversible: its settings, variables and secret bindings go with it."
		if err := a.confirmName(ctx, question, first(c.GetName(), name)); err != nil {
			return err
		}
	}
	r, err := call(ctx, a, l.containers.DeleteContainer, &cv1.DeleteContainerRequest{Org: l.org, Name: same(checked, name), RequestId: a.env.NewID()})
	if err != nil {
		return err
	}
	return a.goes(ctx, g, r.GetContainer(), func(c *cv1.Container) (bool, error) {
		if c.GetStatus() == cv1.ContainerStatus_CONTAINER_STATUS_DELETING {
			return false, nil
		}
		return true, failedf("%s is %s instead of going", c.GetName(), view.ContainerStatus(c.GetStatus()))
	})
}

// same names exactly the container that was looked at: by its uid, so that one
// that took its name meanwhile is not meant.
func same(looked interface{ GetContainer() *cv1.Container }, name string) string {
	return first(looked.GetContainer().GetUid(), name)
}

// goes follows a container that stops or is deleted, until over says so or it is
// gone.
func (a *app) goes(ctx context.Context, g goFlags, c *cv1.Container, over func(*cv1.Container) (bool, error)) error {
	deleting := c.GetStatus() == cv1.ContainerStatus_CONTAINER_STATUS_DELETING
	last := c
	done, err := over(c)
	if !g.noWait && !done && err == nil {
		last, err = a.watchContainer(ctx, c, over)
	}
	if ctx.Err() != nil {
		_, _ = fmt.Fprintf(a.env.Err, "stopped following; it goes on: casemate container get %s\n", view.Name(c.GetName()))
		return told(ExitInterrupted, "interrupted")
	}
	if err != nil {
		return err
	}
	return a.result(last, func(v view.View) string {
		switch {
		case deleting && g.noWait:
			return view.Name(c.GetName()) + " is being deleted\n"
		case deleting:
			return view.Name(c.GetName()) + " is deleted\n"
		}
		return view.Name(c.GetName()) + " is " + v.Status(last) + "\n"
	})
}

// watchContainer follows one container until over says so or it is gone, with a
// line for every status.
func (a *app) watchContainer(ctx context.Context, c *cv1.Container, over func(*cv1.Container) (bool, error)) (*cv1.Container, error) {
	l, err := a.connect()
	if err != nil {
		return c, err
	}
	last, seen, shown := c, false, ""
	show := func(c *cv1.Container) error {
		text := ""
		err := a.say(func(v view.View) string {
			if text = view.Name(c.GetName()) + " is " + v.Status(c) + "\n"; text == shown {
				return ""
			}
			return text
		})
		shown = text
		return err
	}
	if err := show(c); err != nil {
		return c, err
	}
	err = follow.Run(ctx, a.env.Patience, follow.Watch[cv1.WatchContainersResponse]{
		Open: func(ctx context.Context, token string) (grpc.ServerStreamingClient[cv1.WatchContainersResponse], error) {
			return l.containers.WatchContainers(ctx, &cv1.WatchContainersRequest{Org: l.org, Name: c.GetName(), ResumeToken: token})
		},
		Token: (*cv1.WatchContainersResponse).GetResumeToken,
		Fresh: func() { seen = false },
		Broken: func(err error) {
			_, _ = fmt.Fprintln(a.env.Err, "connection broken ("+view.Name(rpc.Text(err))+"): trying again")
		},
		Take: func(m *cv1.WatchContainersResponse) (bool, error) {
			switch now := m.GetChanged(); {
			case now.GetName() == c.GetName() && now.GetUid() != c.GetUid():
				return true, nil // another container of that name: ours is gone
			case now.GetName() == c.GetName():
				last, seen = now, true
				if done, err := over(now); done {
					return true, err
				}
				return false, show(now)
			}
			gone := m.GetDeleted().GetName() == c.GetName() || m.GetSynced() != nil && !seen
			return gone, nil
		},
	})
	if rpc.Code(err) == codes.NotFound {
		return last, nil
	}
	return last, err
}
