package e2e

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// forgotten wants nothing of a container to be left: record, updates, revisions,
// events, route, secret bindings.
func (f *fleet) forgotten(t *testing.T, name string) {
	t.Helper()
	ctx := bounded(t)
	_, err := f.Containers.GetContainer(ctx, &cv1.GetContainerRequest{Org: dev.Org, Name: name})
	wantError(t, err, codes.NotFound, "NO_SUCH_CONTAINER", name)
	updates, err := f.Updates.ListUpdates(ctx, &cv1.ListUpdatesRequest{Org: dev.Org, PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range updates.GetUpdates() {
		if u.GetContainer() == name {
			t.Errorf("update %s is left", u.GetId())
		}
	}
	routes, err := f.Routes.ListRoutes(ctx, &cv1.ListRoutesRequest{PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes.GetRoutes() {
		if r.GetContainer() == name {
			t.Errorf("route %v is left", r)
		}
	}
	secrets, err := f.Secrets.ListSecrets(ctx, &cv1.ListSecretsRequest{Org: dev.Org, PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.GetSecrets() {
		for _, bound := range s.GetBoundTo() {
			if bound == name {
				t.Errorf("secret %s is still bound to it", s.GetName())
			}
		}
	}
	f.refused(t, domain(name))
}

func TestADeletedContainerIsGoneForGood(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.createSecret(t, "BURIED", "value")
	spec := f.versions(t, "grave", app{secrets: []string{"BURIED"}})
	spec.Secrets, spec.Domain = []string{"BURIED"}, "grave.example.test"
	f.deployed(t, "grave", spec)
	uid := f.get(t, "grave").GetUid()
	f.remove(t, "grave")
	f.forgotten(t, "grave")
	f.refused(t, "grave.example.test")
	_, err := f.Containers.StartContainer(bounded(t), &cv1.StartContainerRequest{Org: dev.Org, Name: "grave"})
	wantError(t, err, codes.NotFound, "NO_SUCH_CONTAINER")
	// Name and domain may be used again, for another container.
	f.deployed(t, "grave", spec)
	if c := f.get(t, "grave"); c.GetUid() == uid || c.GetActiveRevision() != 1 {
		t.Errorf("a new container of that name is %v: it has something of the old one", c)
	}
	if a, err := get(bounded(t), f.GatewayAddr, "grave.example.test"); err != nil || a.Container != "grave" {
		t.Errorf("its domain answers %+v, %v", a, err)
	}
}

func TestADeletionInTheMiddleOfAnUpdateCancelsIt(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	slow := app{boot: 500 * time.Millisecond, load: 500 * time.Millisecond, secrets: []string{"MIDWAY"}}
	f.createSecret(t, "MIDWAY", "value")
	for _, step := range []cv1.UpdateStep{
		cv1.UpdateStep_UPDATE_STEP_PREPARE, cv1.UpdateStep_UPDATE_STEP_BOOT, cv1.UpdateStep_UPDATE_STEP_HEALTH,
		cv1.UpdateStep_UPDATE_STEP_HOLD, cv1.UpdateStep_UPDATE_STEP_SWITCH,
	} {
		t.Run(word(step), func(t *testing.T) {
			name := "midway-" + word(step)
			spec := f.versions(t, name, app{secrets: []string{"MIDWAY"}}, slow)
			spec.Secrets = []string{"MIDWAY"}
			f.deployed(t, name, spec)
			o := &cv1.UpdateOptions{Hold: step == cv1.UpdateStep_UPDATE_STEP_HOLD}
			f.beginAt(t, name, "v2", o, step)
			f.remove(t, name)
			f.forgotten(t, name)
		})
	}
	if _, err := f.Secrets.DeleteSecret(bounded(t), &cv1.DeleteSecretRequest{Org: dev.Org, Name: "MIDWAY"}); err != nil {
		t.Errorf("unbound, the secret can't be deleted: %v", err)
	}
}

func TestDeleteFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "trash", app{}, app{boot: time.Minute})
	if r := f.casemate(t, "container", "delete", "trash"); r.code != 2 {
		t.Errorf("without --yes and without a terminal the exit code is %d, want 2", r.code)
	}
	f.begin(t, "trash", "v2", nil)
	says(t, f.ok(t, "container", "delete", "trash", "--yes"), "deleted")
	f.forgotten(t, "trash")
	f.fails(t, 1, "NO_SUCH_CONTAINER", "container", "delete", "trash", "--yes")
}
