package e2e

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// seenNowhere asks for everything the APIs tell of a container and its secrets,
// and wants no value in it. What the fleet writes to disk is searched when the
// fleet is closed.
func (f *fleet) seenNowhere(t *testing.T, name string) {
	t.Helper()
	ctx := bounded(t)
	var all []proto.Message
	add := func(m proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	c, err := f.Containers.GetContainer(ctx, &cv1.GetContainerRequest{Org: dev.Org, Name: name})
	add(c, err)
	u, err := f.Updates.ListUpdates(ctx, &cv1.ListUpdatesRequest{Org: dev.Org, Container: name})
	add(u, err)
	r, err := f.Revisions.ListRevisions(ctx, &cv1.ListRevisionsRequest{Org: dev.Org, Container: name})
	add(r, err)
	one, err := f.Revisions.GetRevision(ctx, &cv1.GetRevisionRequest{Org: dev.Org, Container: name, Number: 1})
	add(one, err)
	s, err := f.Secrets.ListSecrets(ctx, &cv1.ListSecretsRequest{Org: dev.Org})
	add(s, err)
	e, err := f.Events.ListEvents(ctx, &cv1.ListEventsRequest{Org: dev.Org, Container: name, PageSize: 1000})
	add(e, err)
	for n := range f.Agents {
		conn := dial(t, f.AgentSocket(n))
		enclaves, err := agentv1.NewEnclaveServiceClient(conn).ListEnclaves(ctx, &agentv1.ListEnclavesRequest{PageSize: 1000})
		add(enclaves, err)
	}
	enclaves := 0
	for _, m := range all {
		text := prototext.Format(m)
		if strings.Contains(text, secretMark) {
			t.Errorf("a secret's value is in a %T", m)
		}
		enclaves += strings.Count(text, c.GetContainer().GetUid()+"-r1-1")
	}
	if enclaves < 4 {
		t.Errorf("the answers name the enclave %d times only: the search is broken", enclaves)
	}
	for _, args := range [][]string{{"container", "get", name}, {"secret", "list"}, {"container", "logs", name}, {"container", "update", "status", name}} {
		if strings.Contains(f.ok(t, args...), secretMark) {
			t.Errorf("casemate %v prints a secret's value", args)
		}
	}
}
