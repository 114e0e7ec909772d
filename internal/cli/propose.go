package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// maxPlans bounds how often a plan that keeps changing is shown again.
const maxPlans = 10

// goFlags are the flags of commands that begin something.
type goFlags struct{ yes, noWait bool }

func (g *goFlags) register(c *cobra.Command) {
	c.Flags().BoolVarP(&g.yes, "yes", "y", false, "don't ask")
	c.Flags().BoolVar(&g.noWait, "no-wait", false, "return as soon as it is begun")
}

// proposal is something that is planned, shown, asked about, and then begun.
type proposal struct {
	// name is the container's.
	name string
	// plan asks for the plan and changes nothing.
	plan func(context.Context) (*cv1.Plan, error)
	// send begins it, provided the plan is still the same.
	send func(ctx context.Context, planEtag, requestID string) (*cv1.Update, error)
	// question is what is asked.
	question string
}

// propose shows the plan, asks, begins, and returns the update. If the plan has
// changed meanwhile, it begins again with the new one.
func (a *app) propose(ctx context.Context, g goFlags, p proposal) (*cv1.Update, error) {
	for range maxPlans {
		plan, err := p.plan(ctx)
		if err != nil {
			return nil, err
		}
		if err := a.say(func(v view.View) string { return v.Plan(p.name, plan) + "\n" }); err != nil {
			return nil, err
		}
		if err := a.agreed(ctx, g, p.question); err != nil {
			return nil, err
		}
		u, err := p.send(ctx, plan.GetEtag(), a.env.NewID())
		if !movedOn(err) {
			return u, err
		}
		if err := a.planChanged(); err != nil {
			return nil, err
		}
	}
	return nil, failedf("the plan changed %d times: try again when the fleet is quieter", maxPlans)
}

// agreed asks whether to begin what was shown. Where nobody can answer, the plan
// has been shown all the same: it changes nothing, and it may be what was wrong.
func (a *app) agreed(ctx context.Context, g goFlags, question string) error {
	if g.yes {
		return nil
	}
	if err := a.canAsk(g.yes, "begins"); err != nil {
		return err
	}
	return a.confirm(ctx, question)
}

// movedOn says whether what was looked at is not so any more.
func movedOn(err error) bool {
	r := rpc.Reason(err)
	return r == "PLAN_CHANGED" || r == "ETAG_MISMATCH" || r == "CONFLICT"
}

// begun follows what was begun, or says where to look.
func (a *app) begun(ctx context.Context, g goFlags, u *cv1.Update) error {
	if u == nil {
		return failedf("the coordinator began no update and gave no reason: see casemate container list")
	}
	if g.noWait {
		return a.result(u, func(v view.View) string {
			return fmt.Sprintf("%s is under way; follow it with casemate container update status %s --follow\n", view.Name(u.GetId()), view.Name(u.GetContainer()))
		})
	}
	return a.followUpdate(ctx, u, goal{})
}

// parseLimit reads a duration from 0 to a day.
func parseLimit(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("parse duration: %w", err)
	}
	if d < 0 || d > 24*time.Hour {
		return 0, fmt.Errorf("%s is out of range", d)
	}
	return d, nil
}
