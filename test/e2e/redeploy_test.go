package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

// secret is a value of a secret, marked so that a trace of it is found.
func secret(text string) []byte { return []byte(secretMark + "-" + text) }

// digest is what a workload tells of a secret it was given.
func digest(text string) string {
	sum := sha256.Sum256(secret(text))
	return hex.EncodeToString(sum[:4])
}

func (f *fleet) createSecret(t *testing.T, name, text string) {
	t.Helper()
	if _, err := f.Secrets.CreateSecret(bounded(t), &cv1.CreateSecretRequest{Org: dev.Org, Name: name, Value: secret(text)}); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) setSecret(t *testing.T, name, text string) {
	t.Helper()
	if _, err := f.Secrets.SetSecret(bounded(t), &cv1.SetSecretRequest{Org: dev.Org, Name: name, Value: secret(text)}); err != nil {
		t.Fatal(err)
	}
}

// redeployed updates a container with other settings and the same tag.
func (f *fleet) redeployed(t *testing.T, name string, spec *cv1.ContainerSpec, paths ...string) *cv1.Update {
	t.Helper()
	u, err := f.Update(bounded(t), name, spec, paths, nil, dev.Ended)
	return wantEnd(t, u, err, succeeded)
}

func TestARedeployWithAnotherVariableIsBlueGreen(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "vars", app{})
	l := f.load(t, "vars")
	u := f.redeployed(t, "vars", &cv1.ContainerSpec{Variables: map[string]string{"LOG_LEVEL": "debug"}}, "variables")
	if u.GetKind() != "redeploy" || u.GetStrategy() != cv1.Strategy_STRATEGY_BLUE_GREEN || u.GetToTag() != "v1" || u.GetToRevision() != 2 {
		t.Errorf("the redeployment was %v", u)
	}
	unharmed(t, l)
	if a := f.ask(t, "vars"); a.Variables["LOG_LEVEL"] != "debug" || a.Revision != 2 {
		t.Errorf("%+v answers", a)
	}
	says(t, f.ok(t, "container", "relaunch", "vars", "--variable", "LOG_LEVEL=trace", "--yes"), "LOG_LEVEL")
	if a := f.ask(t, "vars"); a.Variables["LOG_LEVEL"] != "trace" {
		t.Errorf("%+v answers", a)
	}
	f.ok(t, "container", "relaunch", "vars", "--no-variables", "--yes")
	if a := f.ask(t, "vars"); len(a.Variables) > 0 {
		t.Errorf("%+v answers, want no variables", a)
	}
}

func TestARotatedSecretIsStaleUntilARedeployPicksItUp(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.createSecret(t, "ROTATES", "one")
	spec := f.versions(t, "keyed", app{secrets: []string{"ROTATES"}})
	spec.Secrets = []string{"ROTATES"}
	f.deployed(t, "keyed", spec)
	if a := f.ask(t, "keyed"); a.Secrets["ROTATES"] != digest("one") {
		t.Errorf("the enclave was given %v, want %s", a.Secrets, digest("one"))
	}
	f.setSecret(t, "ROTATES", "two")
	if c := f.get(t, "keyed"); !slices.Equal(c.GetStaleSecrets(), []string{"ROTATES"}) {
		t.Errorf("stale are %v, want ROTATES", c.GetStaleSecrets())
	}
	says(t, f.ok(t, "container", "get", "keyed"), "stale secrets", "ROTATES", "relaunch")
	says(t, f.ok(t, "secret", "get", "ROTATES"), "stale in", "keyed")
	if a := f.ask(t, "keyed"); a.Secrets["ROTATES"] != digest("one") {
		t.Errorf("without a redeployment the enclave has %v", a.Secrets)
	}
	u := f.redeployed(t, "keyed", nil)
	if !slices.Equal(u.GetPlan().GetSecretsRefreshed(), []string{"ROTATES"}) {
		t.Errorf("the plan refreshes %v", u.GetPlan().GetSecretsRefreshed())
	}
	if a := f.ask(t, "keyed"); a.Secrets["ROTATES"] != digest("two") {
		t.Errorf("the new enclave was given %v, want %s", a.Secrets, digest("two"))
	}
	if c := f.get(t, "keyed"); len(c.GetStaleSecrets()) > 0 {
		t.Errorf("still stale: %v", c.GetStaleSecrets())
	}
}

func TestSecretsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "vaulted", app{secrets: []string{"TYPED_KEY"}})
	if r := f.casemateWith(t, string(secret("one"))+"\n", "secret", "create", "TYPED_KEY"); r.code != 0 {
		t.Fatal(r.err)
	}
	f.ok(t, "container", "create", "vaulted", "--repo", spec.GetRepository(), "--tag", "v1", "--secret", "TYPED_KEY", "--yes")
	if a := f.ask(t, "vaulted"); a.Secrets["TYPED_KEY"] != digest("one") {
		t.Errorf("the enclave was given %v, want %s", a.Secrets, digest("one"))
	}
	f.fails(t, 1, "vaulted", "secret", "delete", "TYPED_KEY", "--yes")
	if r := f.casemateWith(t, string(secret("two")), "secret", "set", "TYPED_KEY"); r.code != 0 {
		t.Fatal(r.err)
	}
	says(t, f.ok(t, "container", "get", "vaulted"), "stale secrets")
	f.ok(t, "container", "relaunch", "vaulted", "--yes")
	if a := f.ask(t, "vaulted"); a.Secrets["TYPED_KEY"] != digest("two") {
		t.Errorf("the enclave was given %v, want %s", a.Secrets, digest("two"))
	}
	says(t, f.ok(t, "secret", "list"), "TYPED_KEY")
	f.ok(t, "container", "delete", "vaulted", "--yes")
	f.ok(t, "secret", "delete", "TYPED_KEY", "--yes")
	f.fails(t, 1, "", "secret", "get", "TYPED_KEY")
	if r := f.casemate(t, "secret", "create", "TYPED_KEY", "value-as-argument"); r.code != 2 {
		t.Errorf("a value as an argument gives exit %d, want 2", r.code)
	}
}

func TestASecretIsNeverReturnedAndNotDeletedWhileBound(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.createSecret(t, "BOUND", "value")
	spec := f.versions(t, "binder", app{secrets: []string{"BOUND"}})
	spec.Secrets = []string{"BOUND"}
	f.deployed(t, "binder", spec)
	ctx := bounded(t)
	_, err := f.Secrets.CreateSecret(ctx, &cv1.CreateSecretRequest{Org: dev.Org, Name: "BOUND", Value: secret("other")})
	if err == nil {
		t.Error("a name that is taken was given again")
	}
	_, err = f.Secrets.DeleteSecret(ctx, &cv1.DeleteSecretRequest{Org: dev.Org, Name: "BOUND"})
	wantError(t, err, codes.FailedPrecondition, "SECRET_BOUND", "binder")
	f.seenNowhere(t, "binder")
	f.remove(t, "binder")
	if _, err := f.Secrets.DeleteSecret(ctx, &cv1.DeleteSecretRequest{Org: dev.Org, Name: "BOUND"}); err != nil {
		t.Errorf("unbound, the secret can't be deleted: %v", err)
	}
}
