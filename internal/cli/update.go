package cli

import (
	"context"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newUpdate(a *app) *cobra.Command {
	return group("update", "Plan, inspect and control updates", []string{"updates"},
		newUpdatePlan(a), newUpdateStatus(a), newUpdateAccept(a), newUpdateCancel(a), newUpdateHistory(a), newUpdateForce(a))
}

// getUpdate returns an update; no id means the active one or else the last.
func (a *app) getUpdate(ctx context.Context, args []string) (*cv1.Update, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	req := &cv1.GetUpdateRequest{Org: l.org, Container: args[0]}
	if len(args) > 1 {
		req.Id = args[1]
	}
	r, err := call(ctx, a, l.updates.GetUpdate, req)
	return r.GetUpdate(), err
}

func newUpdateStatus(a *app) *cobra.Command {
	var on bool
	c := &cobra.Command{
		Use: "status NAME [UPDATE]", Short: "Show the update in progress, or else the last one", Args: cobra.RangeArgs(1, 2),
		Long: `Show the update in progress, or else the last one. With --follow it is followed
until it ends, as relaunch does, with the same exit codes.`,
		Example:           "  casemate container update status web\n  casemate container update status web --follow",
		ValidArgsFunction: a.completeContainerUpdate,
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := a.getUpdate(cmd.Context(), args)
			if err != nil {
				return err
			}
			if on {
				return a.followUpdate(cmd.Context(), u, goal{})
			}
			return a.result(u, func(v view.View) string { return v.Update(u) })
		},
	}
	c.Flags().BoolVarP(&on, "follow", "f", false, "follow it until it ends")
	return c
}

func newUpdateHistory(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "history NAME", Short: "List a container's updates, newest first", Args: cobra.ExactArgs(1),
		Example:           "  casemate container update history web",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.listUpdates(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return results(a, list, view.View.Updates)
		},
	}
}

func (a *app) listUpdates(ctx context.Context, name string) ([]*cv1.Update, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return pages(func(token string) ([]*cv1.Update, string, error) {
		r, err := call(ctx, a, l.updates.ListUpdates, &cv1.ListUpdatesRequest{Org: l.org, Container: name, PageSize: pageSize, PageToken: token})
		return r.GetUpdates(), r.GetNextPageToken(), err
	})
}

func newUpdateAccept(a *app) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: "accept NAME [UPDATE]", Short: "Let traffic switch to a candidate that is ready", Args: cobra.RangeArgs(1, 2),
		Long: `Let traffic switch to a held candidate that is READY. The update is fetched and
shown, and exactly that state of it is accepted: if it has changed by then, the
coordinator refuses and nothing happens.`,
		Example:           "  casemate container update accept web\n  casemate container update accept web web-u4",
		ValidArgsFunction: a.completeContainerUpdate,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.accept(cmd.Context(), args, noWait)
		},
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as it is accepted")
	return c
}

func (a *app) accept(ctx context.Context, args []string, noWait bool) error {
	u, err := a.getUpdate(ctx, args)
	if err != nil {
		return err
	}
	if err := a.say(func(v view.View) string { return v.Update(u) + "\n" }); err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	r, err := call(ctx, a, l.updates.AcceptUpdate, &cv1.AcceptUpdateRequest{
		Org: l.org, Container: args[0], Id: u.GetId(), Etag: u.GetEtag(), RequestId: a.env.NewID(),
	})
	if err != nil {
		return err
	}
	if noWait {
		return a.result(r.GetUpdate(), func(v view.View) string { return view.Name(u.GetId()) + " is accepted\n" })
	}
	return a.followUpdate(ctx, r.GetUpdate(), goal{accepted: true, shown: u})
}

func newUpdateCancel(a *app) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: "cancel NAME [UPDATE]", Short: "Discard the candidate and keep what runs", Args: cobra.RangeArgs(1, 2),
		Long: `Tear the candidate of an update down; no traffic switches. Once traffic has
switched it is refused: roll back with relaunch --tag OLDER.`,
		Example:           "  casemate container update cancel web",
		ValidArgsFunction: a.completeContainerUpdate,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.cancel(cmd.Context(), args, noWait)
		},
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as the cancellation is taken")
	return c
}

func (a *app) cancel(ctx context.Context, args []string, noWait bool) error {
	l, err := a.connect()
	if err != nil {
		return err
	}
	req := &cv1.CancelUpdateRequest{Org: l.org, Container: args[0], RequestId: a.env.NewID()}
	if len(args) > 1 {
		req.Id = args[1]
	}
	r, err := call(ctx, a, l.updates.CancelUpdate, req)
	if err != nil {
		return err
	}
	u := r.GetUpdate()
	if noWait {
		return a.result(u, func(v view.View) string { return view.Name(u.GetId()) + " is being cancelled\n" })
	}
	return a.followUpdate(ctx, u, goal{cancelled: true})
}

func newUpdateForce(a *app) *cobra.Command {
	var g goFlags
	c := &cobra.Command{
		Use: "force NAME [UPDATE]", Short: "Stop waiting in the current step", Args: cobra.RangeArgs(1, 2),
		Long: `Stop waiting in the current step of an update, for when a host or gateway will
not come back. It never skips verification and never boots on GPUs that are not
proved free: such a step fails instead. The step is shown first, and it is refused
if the update is in another one by then.`,
		Example:           "  casemate container update force web",
		ValidArgsFunction: a.completeContainerUpdate,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.force(cmd.Context(), args, g)
		},
	}
	g.register(c)
	return c
}

func (a *app) force(ctx context.Context, args []string, g goFlags) error {
	if err := a.canAsk(g.yes, "forces"); err != nil {
		return err
	}
	u, err := a.getUpdate(ctx, args)
	if err != nil {
		return err
	}
	if view.Ended(u.GetStatus()) {
		return failedf("update %s has ended: there is nothing to force", u.GetId())
	}
	if err := a.say(func(v view.View) string { return v.Update(u) + "\n" }); err != nil {
		return err
	}
	if !g.yes {
		if err := a.confirm(ctx, "Stop waiting in step "+view.Step(u.GetStep())+" of "+view.Name(u.GetId())+"?"); err != nil {
			return err
		}
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	r, err := call(ctx, a, l.updates.ForceUpdate, &cv1.ForceUpdateRequest{
		Org: l.org, Container: args[0], Id: u.GetId(), Step: u.GetStep(), RequestId: a.env.NewID(),
	})
	if err != nil {
		return err
	}
	return a.begun(ctx, g, r.GetUpdate())
}
