package cli

import (
	"context"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func newContainerCreate(a *app) *cobra.Command {
	var spec specFlags
	var g goFlags
	c := &cobra.Command{
		Use: "create NAME --repo URL --tag TAG", Short: "Deploy a new container", Args: cobra.ExactArgs(1),
		Long: "Deploy a new container from a Git tag. The plan is shown first; the boot is followed until it serves.",
		Example: `  casemate container create web --repo https://github.com/acme/web --tag v1.2.3
  casemate container create web --repo https://github.com/acme/web --tag v1.2.3 --variable LOG_LEVEL=info --secret API_KEY --yes`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if spec.repo == "" || spec.tag == "" {
				return usagef("create needs --repo and --tag")
			}
			return a.create(cmd, args[0], &spec, g)
		},
	}
	spec.register(a, c, true, false)
	g.register(c)
	return c
}

func (a *app) create(cmd *cobra.Command, name string, flags *specFlags, g goFlags) error {
	spec, _, err := flags.spec(a, cmd.Flags())
	if err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	do := func(ctx context.Context, req *cv1.CreateContainerRequest) (*cv1.CreateContainerResponse, error) {
		req.Org, req.Name, req.Spec = l.org, name, spec
		return call(ctx, a, l.containers.CreateContainer, req)
	}
	u, err := a.propose(cmd.Context(), g, proposal{
		name: name, question: "Deploy " + name + "?",
		plan: func(ctx context.Context) (*cv1.Plan, error) {
			r, err := do(ctx, &cv1.CreateContainerRequest{ValidateOnly: true})
			return r.GetPlan(), err
		},
		send: func(ctx context.Context, etag, id string) (*cv1.Update, error) {
			r, err := do(ctx, &cv1.CreateContainerRequest{PlanEtag: etag, RequestId: id})
			return r.GetUpdate(), err
		},
	})
	if err != nil {
		return err
	}
	return a.begun(cmd.Context(), g, u)
}

func newContainerTemplate(a *app) *cobra.Command {
	var spec specFlags
	var g goFlags
	c := &cobra.Command{
		Use: "template SOURCE NEWNAME", Short: "Deploy a new container with the settings of another", Args: cobra.ExactArgs(2),
		Long: `Deploy a new, independent container with the settings of another. Flags replace
single settings; the domain is never copied.`,
		Example:           "  casemate container template web web-staging --tag v1.3.0 --variable LOG_LEVEL=debug",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.template(cmd, args[0], args[1], &spec, g)
		},
	}
	spec.register(a, c, true, true)
	g.register(c)
	return c
}

func (a *app) template(cmd *cobra.Command, source, name string, flags *specFlags, g goFlags) error {
	spec, mask, err := flags.spec(a, cmd.Flags())
	if err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	do := func(ctx context.Context, req *cv1.CopyContainerRequest) (*cv1.CopyContainerResponse, error) {
		req.Org, req.Source, req.Name, req.Spec, req.UpdateMask = l.org, source, name, spec, mask
		return call(ctx, a, l.containers.CopyContainer, req)
	}
	u, err := a.propose(cmd.Context(), g, proposal{
		name: name, question: "Deploy " + name + "?",
		plan: func(ctx context.Context) (*cv1.Plan, error) {
			r, err := do(ctx, &cv1.CopyContainerRequest{ValidateOnly: true})
			return r.GetPlan(), err
		},
		send: func(ctx context.Context, etag, id string) (*cv1.Update, error) {
			r, err := do(ctx, &cv1.CopyContainerRequest{PlanEtag: etag, RequestId: id})
			return r.GetUpdate(), err
		},
	})
	if err != nil {
		return err
	}
	return a.begun(cmd.Context(), g, u)
}

func newContainerStart(a *app) *cobra.Command {
	var g goFlags
	c := &cobra.Command{
		Use: "start NAME", Short: "Start a stopped or failed container again as it is", Args: cobra.ExactArgs(1),
		Example:           "  casemate container start web",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.start(cmd.Context(), args[0], g)
		},
	}
	g.register(c)
	return c
}

func (a *app) start(ctx context.Context, name string, g goFlags) error {
	l, err := a.connect()
	if err != nil {
		return err
	}
	// A start has no plan etag: the container's stands for what was looked at.
	seen := ""
	u, err := a.propose(ctx, g, proposal{
		name: name, question: "Start " + name + "?",
		plan: func(ctx context.Context) (*cv1.Plan, error) {
			r, err := call(ctx, a, l.containers.StartContainer, &cv1.StartContainerRequest{Org: l.org, Name: name, ValidateOnly: true})
			seen = r.GetContainer().GetEtag()
			return r.GetPlan(), err
		},
		send: func(ctx context.Context, _, id string) (*cv1.Update, error) {
			r, err := call(ctx, a, l.containers.StartContainer, &cv1.StartContainerRequest{Org: l.org, Name: name, Etag: seen, RequestId: id})
			return r.GetUpdate(), err
		},
	})
	if err != nil {
		return err
	}
	return a.begun(ctx, g, u)
}
