package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/store"
)

func TestStaleSecretsAreSeenAndGo(t *testing.T) {
	c := connect(t)
	c.host()
	c.secret("API_KEY", "one")
	c.deploy("api")
	if _, err := c.secrets.SetSecret(t.Context(), &cv1.SetSecretRequest{Org: "acme", Name: "API_KEY", Value: []byte("two")}); err != nil {
		t.Fatal(err)
	}
	s, err := c.secrets.GetSecret(t.Context(), &cv1.GetSecretRequest{Org: "acme", Name: "API_KEY"})
	if err != nil || s.GetSecret().GetVersion() != 2 || !slices.Equal(s.GetSecret().GetStaleIn(), []string{"api"}) {
		t.Errorf("secret %v, %v; want version 2, stale in api", s, err)
	}
	stale := func() []string {
		r, err := c.containers.GetContainer(t.Context(), &cv1.GetContainerRequest{Org: "acme", Name: "api"})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetContainer().GetStaleSecrets()
	}
	if got := stale(); !slices.Equal(got, []string{"API_KEY"}) {
		t.Errorf("stale are %v, want API_KEY", got)
	}
	r, err := c.updates.StartUpdate(t.Context(), &cv1.StartUpdateRequest{Org: "acme", Container: "api"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.GetPlan().GetSecretsRefreshed(); !slices.Equal(got, []string{"API_KEY"}) {
		t.Errorf("the plan refreshes %v", got)
	}
	c.await(r.GetUpdate())
	if got := stale(); len(got) != 0 {
		t.Errorf("after the redeploy %v are stale", got)
	}
	_, err = c.secrets.DeleteSecret(t.Context(), &cv1.DeleteSecretRequest{Org: "acme", Name: "API_KEY"})
	want(t, err, codes.FailedPrecondition, "SECRET_BOUND")
}

func TestSecrets(t *testing.T) {
	c := connect(t)
	ctx := t.Context()
	_, err := c.secrets.SetSecret(ctx, &cv1.SetSecretRequest{Org: "acme", Name: "A", Value: []byte("x")})
	want(t, err, codes.NotFound, "NO_SUCH_SECRET")
	c.secret("A", "x")
	_, err = c.secrets.CreateSecret(ctx, &cv1.CreateSecretRequest{Org: "acme", Name: "A", Value: []byte("x")})
	want(t, err, codes.AlreadyExists, "SECRET_EXISTS")
	_, err = c.secrets.SetSecret(ctx, &cv1.SetSecretRequest{Org: "acme", Name: "A", Value: []byte("y"), Etag: "zz"})
	want(t, err, codes.Aborted, "ETAG_MISMATCH")
	set := &cv1.SetSecretRequest{Org: "acme", Name: "A", Value: []byte("y"), RequestId: "s1"}
	for range 2 {
		r, err := c.secrets.SetSecret(ctx, set)
		if err != nil || r.GetSecret().GetVersion() != 2 {
			t.Errorf("set: %v, %v; want version 2 once", r, err)
		}
	}
	if r, err := c.secrets.CreateSecret(ctx, &cv1.CreateSecretRequest{Org: "acme", Name: "B", Value: []byte("x"), ValidateOnly: true}); err != nil || r.GetSecret().GetName() != "B" {
		t.Errorf("checked only: %v, %v", r, err)
	}
	for i := range 5 {
		c.secret(fmt.Sprintf("P%d", i), "x")
	}
	var names []string
	token := ""
	for {
		r, err := c.secrets.ListSecrets(ctx, &cv1.ListSecretsRequest{Org: "acme", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.GetSecrets() {
			names = append(names, s.GetName())
		}
		if token = r.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{"A", "P0", "P1", "P2", "P3", "P4"}; !slices.Equal(names, want) {
		t.Errorf("listed %v, want %v", names, want)
	}
	if _, err := c.secrets.DeleteSecret(ctx, &cv1.DeleteSecretRequest{Org: "acme", Name: "A"}); err != nil {
		t.Error(err)
	}
	_, err = c.secrets.GetSecret(ctx, &cv1.GetSecretRequest{Org: "acme", Name: "A"})
	want(t, err, codes.NotFound, "NO_SUCH_SECRET")
}

// TestASecretOfManyLargeContainersCanBeSet: together they are more than a transaction
// takes.
func TestASecretOfManyLargeContainersCanBeSet(t *testing.T) {
	large := model.Container{Spec: model.ContainerSpec{Variables: map[string]string{"LOG_LEVEL": strings.Repeat("x", 90<<10)}}}
	var users []records.Item[model.Container]
	for i := range 200 {
		users = append(users, records.Item[model.Container]{Key: fmt.Sprintf("containers/acme/c%d", i), Value: large})
	}
	var extra records.Extra
	if err := touch(&extra, users, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := store.CheckTxn(extra.Compares, extra.Ops); err != nil || len(extra.Ops) < 50 || len(extra.Compares) != len(extra.Ops) {
		t.Errorf("%d containers are told and %d compared: %v", len(extra.Ops), len(extra.Compares), err)
	}
}
