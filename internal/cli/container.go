package cli

import (
	"context"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newContainer(a *app) *cobra.Command {
	return group("container", "Deploy, update and look at containers", []string{"containers", "c"},
		newContainerList(a), newContainerGet(a), newContainerCreate(a), newContainerTemplate(a),
		newContainerRelaunch(a), newContainerStart(a), newContainerStop(a), newContainerDelete(a),
		newContainerLogs(a), newContainerRevisions(a), newContainerEvents(a), newUpdate(a))
}

func newContainerList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the org's containers", Args: cobra.NoArgs,
		Example: "  casemate container list\n  casemate container list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.listContainers(cmd.Context())
			if err != nil {
				return err
			}
			return results(a, list, func(v view.View, list []*cv1.Container) string { return v.Containers(a.link.org, list) })
		},
	}
}

func (a *app) listContainers(ctx context.Context) ([]*cv1.Container, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return pages(func(token string) ([]*cv1.Container, string, error) {
		r, err := call(ctx, a, l.containers.ListContainers, &cv1.ListContainersRequest{Org: l.org, PageSize: pageSize, PageToken: token})
		return r.GetContainers(), r.GetNextPageToken(), err
	})
}

func newContainerGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show one container: status, who signed its release, boot stages, settings", Args: cobra.ExactArgs(1),
		Example:           "  casemate container get web",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.getContainer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.machine() {
				return a.result(c, nil)
			}
			m, err := a.servingManifest(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.result(c, func(v view.View) string { return v.Container(c, m) })
		},
	}
}

func (a *app) getContainer(ctx context.Context, name string) (*cv1.Container, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	r, err := call(ctx, a, l.containers.GetContainer, &cv1.GetContainerRequest{Org: l.org, Name: name})
	return r.GetContainer(), err
}

// servingManifest is the manifest of the release that serves; nil if none does, or if
// it is not signed.
func (a *app) servingManifest(ctx context.Context, c *cv1.Container) (*cv1.Manifest, error) {
	if c.GetActiveRevision() == 0 {
		return nil, nil
	}
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	r, err := call(ctx, a, l.revisions.GetRevision, &cv1.GetRevisionRequest{Org: l.org, Container: c.GetName(), Number: c.GetActiveRevision()})
	return r.GetRevision().GetManifest(), err
}

func newContainerRevisions(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "revisions NAME", Short: "List a container's revisions, newest first", Args: cobra.ExactArgs(1),
		Example:           "  casemate container revisions web",
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.listRevisions(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return results(a, list, view.View.Revisions)
		},
	}
}

func (a *app) listRevisions(ctx context.Context, name string) ([]*cv1.Revision, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return pages(func(token string) ([]*cv1.Revision, string, error) {
		r, err := call(ctx, a, l.revisions.ListRevisions, &cv1.ListRevisionsRequest{Org: l.org, Container: name, PageSize: pageSize, PageToken: token})
		return r.GetRevisions(), r.GetNextPageToken(), err
	})
}
