package cli

import (
	"context"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newHost(a *app) *cobra.Command {
	return group("host", "Look at the fleet and keep it", []string{"hosts"},
		newHostList(a), newHostGet(a), newHostAdd(a), newHostCordon(a), newHostUncordon(a), newHostDrain(a), newHostForget(a))
}

func newHostList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the hosts and what they can give", Args: cobra.NoArgs,
		Example: "  casemate host list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.listHosts(cmd.Context())
			if err != nil {
				return err
			}
			return results(a, list, view.View.Hosts)
		},
	}
}

func (a *app) listHosts(ctx context.Context) ([]*cv1.Host, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return pages(func(token string) ([]*cv1.Host, string, error) {
		r, err := call(ctx, a, l.hosts.ListHosts, &cv1.ListHostsRequest{PageSize: pageSize, PageToken: token})
		return r.GetHosts(), r.GetNextPageToken(), err
	})
}

func newHostGet(a *app) *cobra.Command {
	return a.hostCommand("get NAME", "Show one host: GPUs, enclaves, conditions", "  casemate host get gpu-1",
		func(ctx context.Context, l *link, name string) (*cv1.Host, error) {
			r, err := call(ctx, a, l.hosts.GetHost, &cv1.GetHostRequest{Name: name})
			return r.GetHost(), err
		})
}

func newHostCordon(a *app) *cobra.Command {
	return a.hostCommand("cordon NAME", "Place nothing new on a host; what runs goes on", "  casemate host cordon gpu-1",
		func(ctx context.Context, l *link, name string) (*cv1.Host, error) {
			r, err := call(ctx, a, l.hosts.CordonHost, &cv1.CordonHostRequest{Name: name, RequestId: a.env.NewID()})
			return r.GetHost(), err
		})
}

func newHostUncordon(a *app) *cobra.Command {
	return a.hostCommand("uncordon NAME", "Let enclaves be placed on a host again", "  casemate host uncordon gpu-1",
		func(ctx context.Context, l *link, name string) (*cv1.Host, error) {
			r, err := call(ctx, a, l.hosts.UncordonHost, &cv1.UncordonHostRequest{Name: name, RequestId: a.env.NewID()})
			return r.GetHost(), err
		})
}

// hostCommand makes a command that does something with one host and shows it.
func (a *app) hostCommand(use, short, example string, do func(context.Context, *link, string) (*cv1.Host, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.connect()
			if err != nil {
				return err
			}
			h, err := do(cmd.Context(), l, args[0])
			if err != nil {
				return err
			}
			return a.result(h, func(v view.View) string { return v.Host(h) })
		},
	}
}

func newHostAdd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Add a host by its agent's address", Args: cobra.ExactArgs(2),
		Example:           "  casemate host add gpu-1 10.0.0.11:7443",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.connect()
			if err != nil {
				return err
			}
			r, err := call(cmd.Context(), a, l.hosts.AddHost, &cv1.AddHostRequest{Name: args[0], Address: args[1], RequestId: a.env.NewID()})
			if err != nil {
				return err
			}
			return a.result(r.GetHost(), func(v view.View) string { return v.Host(r.GetHost()) })
		},
	}
}

func newRoute(a *app) *cobra.Command {
	return group("route", "Look at the routes that gateways follow", []string{"routes"}, newRouteList(a))
}

func newRouteList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the routes, by domain", Args: cobra.NoArgs,
		Example: "  casemate route list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.connect()
			if err != nil {
				return err
			}
			list, err := pages(func(token string) ([]*cv1.Route, string, error) {
				r, err := call(cmd.Context(), a, l.routes.ListRoutes, &cv1.ListRoutesRequest{PageSize: pageSize, PageToken: token})
				return r.GetRoutes(), r.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return results(a, list, view.View.Routes)
		},
	}
}
