package cli

import (
	"context"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

// change is an update that flags describe.
type change struct {
	spec    specFlags
	options optionFlags
}

func (c *change) register(a *app, cmd *cobra.Command) {
	c.spec.register(a, cmd, false, true)
	c.options.register(cmd)
}

// request is the change as a request to plan.
func (c *change) request(a *app, cmd *cobra.Command, name string) (*cv1.PlanUpdateRequest, error) {
	spec, mask, err := c.spec.spec(a, cmd.Flags())
	if err != nil {
		return nil, err
	}
	options, err := c.options.options()
	if err != nil {
		return nil, err
	}
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return &cv1.PlanUpdateRequest{Org: l.org, Container: name, Spec: spec, UpdateMask: mask, Options: options}, nil
}

func newContainerRelaunch(a *app) *cobra.Command {
	var ch change
	var g goFlags
	c := &cobra.Command{
		Use: "relaunch NAME", Short: "Update: to another tag, or with other settings or new secret values", Args: cobra.ExactArgs(1),
		Long: `Update a container: to another tag, an older one (a roll-back), or the same one
with other settings or newer secret values (a redeploy).

The plan is shown first: blue-green, where the old version serves until the new
one is ready, or replace, with downtime. A list flag replaces the saved list; one
that isn't given keeps it.`,
		Example: `  casemate container relaunch web --tag v1.2.4
  casemate container relaunch web --variable LOG_LEVEL=debug
  casemate container relaunch web --tag v1.3.0 --hold
  casemate container relaunch llm --tag v2.0.0 --allow-downtime --yes`,
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := ch.request(a, cmd, args[0])
			if err != nil {
				return err
			}
			return a.relaunch(cmd.Context(), req, g)
		},
	}
	ch.register(a, c)
	g.register(c)
	return c
}

func (a *app) relaunch(ctx context.Context, req *cv1.PlanUpdateRequest, g goFlags) error {
	l, err := a.connect()
	if err != nil {
		return err
	}
	u, err := a.propose(ctx, g, proposal{
		name: req.GetContainer(), question: "Begin?",
		plan: func(ctx context.Context) (*cv1.Plan, error) {
			r, err := call(ctx, a, l.updates.PlanUpdate, req)
			return r.GetPlan(), err
		},
		send: func(ctx context.Context, etag, id string) (*cv1.Update, error) {
			r, err := call(ctx, a, l.updates.StartUpdate, &cv1.StartUpdateRequest{
				Org: req.GetOrg(), Container: req.GetContainer(), Spec: req.GetSpec(), UpdateMask: req.GetUpdateMask(),
				Options: req.GetOptions(), PlanEtag: etag, RequestId: id,
			})
			return r.GetUpdate(), err
		},
	})
	if err != nil {
		return err
	}
	return a.begun(ctx, g, u)
}

func newUpdatePlan(a *app) *cobra.Command {
	var ch change
	c := &cobra.Command{
		Use: "plan NAME", Short: "Say how an update would be carried out; change nothing", Args: cobra.ExactArgs(1),
		Example:           "  casemate container update plan llm --tag v2.0.0",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := ch.request(a, cmd, args[0])
			if err != nil {
				return err
			}
			l, err := a.connect()
			if err != nil {
				return err
			}
			r, err := call(cmd.Context(), a, l.updates.PlanUpdate, req)
			if err != nil {
				return err
			}
			return a.result(r.GetPlan(), func(v view.View) string { return v.Plan(args[0], r.GetPlan()) })
		},
	}
	ch.register(a, c)
	return c
}
