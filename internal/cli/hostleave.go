package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newHostDrain(a *app) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "drain NAME", Short: "Move what a host serves to other hosts, blue-green", Args: cobra.ExactArgs(1),
		Long: `Cordon a host and start a blue-green redeploy of every container that it serves.

What can't be moved without downtime is listed with the reason and stays; the exit
code is then 1. Follow a move with "casemate container update status NAME".`,
		Example:           "  casemate host drain gpu-1",
		ValidArgsFunction: a.completeHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.drainHost(cmd.Context(), args[0], yes)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return c
}

func (a *app) drainHost(ctx context.Context, name string, yes bool) error {
	if err := a.canAsk(yes, "moves what the host serves"); err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	if !yes {
		plan, err := call(ctx, a, l.hosts.DrainHost, &cv1.DrainHostRequest{Name: name, ValidateOnly: true})
		if err != nil {
			return err
		}
		if err := a.result(plan, func(view.View) string { return drained(plan) }); err != nil {
			return err
		}
		if err := a.confirm(ctx, "Cordon host "+view.Name(name)+" and move these?"); err != nil {
			return err
		}
	}
	r, err := call(ctx, a, l.hosts.DrainHost, &cv1.DrainHostRequest{Name: name, RequestId: a.env.NewID()})
	if err != nil {
		return err
	}
	if err := a.result(r, func(view.View) string { return drained(r) }); err != nil {
		return err
	}
	if n := len(r.GetStays()); n > 0 {
		return fmt.Errorf("%s on %s: allow their downtime with `casemate container relaunch NAME --allow-downtime`, or make room", stay(n), view.Name(name))
	}
	return nil
}

func stay(n int) string {
	if n == 1 {
		return "1 container stays"
	}
	return fmt.Sprintf("%d containers stay", n)
}

// drained shows what moves and what stays.
func drained(r *cv1.DrainHostResponse) string {
	if len(r.GetMoved())+len(r.GetStays()) == 0 {
		return "host " + view.Name(r.GetHost().GetName()) + " serves nothing\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONTAINER\tMOVES TO\tUPDATE\tSTAYS BECAUSE")
	for _, m := range r.GetMoved() {
		fmt.Fprintf(w, "%s/%s\t%s\t%s\t\n", view.Name(m.GetOrg()), view.Name(m.GetContainer()), view.Name(m.GetToHost()), view.Name(m.GetUpdate()))
	}
	for _, s := range r.GetStays() {
		fmt.Fprintf(w, "%s/%s\t-\t-\t%s [%s]\n", view.Name(s.GetOrg()), view.Name(s.GetContainer()), view.Name(s.GetText()), view.Name(s.GetReason()))
	}
	if err := w.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}

func newHostForget(a *app) *cobra.Command {
	var yes, force bool
	c := &cobra.Command{
		Use: "remove NAME", Aliases: []string{"forget"}, Short: "Forget a host on which nothing runs, or one that is lost for good", Args: cobra.ExactArgs(1),
		Long: `Forget a host.

A host on which enclaves run or are promised is refused, unless it is lost for good
and --force says so: then whatever was on it counts as ended and is started on other
hosts. What still runs on a host that was not lost after all is not stopped.`,
		Example:           "  casemate host remove gpu-1\n  casemate host forget gpu-1 --force",
		ValidArgsFunction: a.completeHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.forgetHost(cmd.Context(), args[0], yes, force)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	c.Flags().BoolVar(&force, "force", false, "the host is lost for good: forget it with all that was on it")
	return c
}

func (a *app) forgetHost(ctx context.Context, name string, yes, force bool) error {
	if err := a.canAsk(yes, "removes"); err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := call(ctx, a, l.hosts.RemoveHost, &cv1.RemoveHostRequest{Name: name, ValidateOnly: true, Force: force}); err != nil {
		return err
	}
	if !yes {
		question := "Forget host " + view.Name(name) + "?"
		if force {
			question = "Forget host " + view.Name(name) + " with all that is on it, because it is lost for good?"
		}
		if err := a.confirm(ctx, question); err != nil {
			return err
		}
	}
	r, err := call(ctx, a, l.hosts.RemoveHost, &cv1.RemoveHostRequest{Name: name, RequestId: a.env.NewID(), Force: force})
	if err != nil {
		return err
	}
	return a.result(r, func(view.View) string { return "host " + view.Name(name) + " is removed\n" })
}
