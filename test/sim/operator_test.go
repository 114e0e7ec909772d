package sim

import (
	"context"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// adds makes a host known.
func (w *world) adds(name string) request {
	id := w.newID()
	return request{id: id, what: "add host " + name, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewHostServiceClient(c).AddHost(ctx, &cv1.AddHostRequest{Name: name, Address: name + ":7443", RequestId: id})
		return "", err
	}}
}

func (w *world) cordons(name string, cordoned bool) request {
	id := w.newID()
	if cordoned {
		return request{id: id, what: "cordon " + name, make: func(ctx context.Context, c *conn) (string, error) {
			_, err := cv1.NewHostServiceClient(c).CordonHost(ctx, &cv1.CordonHostRequest{Name: name, RequestId: id})
			return "", err
		}}
	}
	return request{id: id, what: "uncordon " + name, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewHostServiceClient(c).UncordonHost(ctx, &cv1.UncordonHostRequest{Name: name, RequestId: id})
		return "", err
	}}
}

// drains moves what a host serves elsewhere. What it names as moving moves.
func (w *world) drains(name string) request {
	id, since := w.newID(), time.Now()
	return request{id: id, what: "drain host " + name, patience: 2 * patience, make: func(ctx context.Context, c *conn) (string, error) {
		out, err := cv1.NewHostServiceClient(c).DrainHost(ctx, &cv1.DrainHostRequest{Name: name, RequestId: id})
		for _, m := range out.GetMoved() {
			w.mu.Lock()
			if m.GetToHost() == name && w.host(name).uncordoned.Before(since) {
				w.violate("drain", "%s is drained, and %s moves to it", name, m.GetContainer())
			}
			w.mu.Unlock()
		}
		return "", err
	}}
}

// forgets gives a host up, whatever runs on it, or only if nothing does.
func (w *world) forgets(name string, force bool) request {
	id := w.newID()
	what := "forget host " + name
	if force {
		what += " by force"
	}
	return request{id: id, what: what, make: func(ctx context.Context, c *conn) (string, error) {
		_, err := cv1.NewHostServiceClient(c).RemoveHost(ctx, &cv1.RemoveHostRequest{Name: name, Force: force, RequestId: id})
		return "", err
	}}
}

// looks reads all that can be listed, and each thing by its name.
func (w *world) looks(name string) request {
	return request{id: "look", what: "look at everything, and at " + name, make: func(ctx context.Context, c *conn) (string, error) {
		for _, look := range []func() error{
			func() error {
				return second(cv1.NewContainerServiceClient(c).ListContainers(ctx, &cv1.ListContainersRequest{Org: org}))
			},
			func() error {
				return second(cv1.NewContainerServiceClient(c).GetContainer(ctx, &cv1.GetContainerRequest{Org: org, Name: name}))
			},
			func() error {
				return second(cv1.NewUpdateServiceClient(c).ListUpdates(ctx, &cv1.ListUpdatesRequest{Org: org, Container: name}))
			},
			func() error {
				return second(cv1.NewUpdateServiceClient(c).GetUpdate(ctx, &cv1.GetUpdateRequest{Org: org, Container: name}))
			},
			func() error {
				return second(cv1.NewRevisionServiceClient(c).ListRevisions(ctx, &cv1.ListRevisionsRequest{Org: org, Container: name}))
			},
			func() error {
				return second(cv1.NewRevisionServiceClient(c).GetRevision(ctx, &cv1.GetRevisionRequest{Org: org, Container: name, Number: 1}))
			},
			func() error {
				return second(cv1.NewEventServiceClient(c).ListEvents(ctx, &cv1.ListEventsRequest{Org: org, Container: name}))
			},
			func() error {
				return second(cv1.NewSecretServiceClient(c).ListSecrets(ctx, &cv1.ListSecretsRequest{Org: org}))
			},
			func() error {
				return second(cv1.NewSecretServiceClient(c).GetSecret(ctx, &cv1.GetSecretRequest{Org: org, Name: "API_KEY"}))
			},
			func() error { return second(cv1.NewHostServiceClient(c).ListHosts(ctx, &cv1.ListHostsRequest{})) },
			func() error { return second(cv1.NewHostServiceClient(c).GetHost(ctx, &cv1.GetHostRequest{Name: "h1"})) },
			func() error { return second(cv1.NewRouteServiceClient(c).ListRoutes(ctx, &cv1.ListRoutesRequest{})) },
		} {
			if err := look(); err != nil {
				w.mu.Lock()
				w.answeredBadly(c, "a look", err)
				w.mu.Unlock()
			}
		}
		return "", nil
	}}
}

func second[T any](_ T, err error) error { return err }
