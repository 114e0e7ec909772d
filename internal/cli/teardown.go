package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
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
