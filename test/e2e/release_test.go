package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/internal/rpc"
)

func TestATagIsDeployedOnlyWithItsSignedManifest(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	key, err := f.ReleaseKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.Dir, "repos", "half-released")
	config := app{}.config()
	if err := dev.WriteRepository(dir, []dev.Release{{Tag: "v1", Config: config}, {Tag: "v2", Config: config, Unsigned: true}}, key); err != nil {
		t.Fatal(err)
	}
	f.deployed(t, "signed", &cv1.ContainerSpec{Repository: dir, Tag: "v1"})
	defer f.remove(t, "signed")

	_, err = f.Updates.PlanUpdate(bounded(t), &cv1.PlanUpdateRequest{Org: dev.Org, Container: "signed", Spec: &cv1.ContainerSpec{Tag: "v2"}, UpdateMask: mask("tag")})
	if rpc.Code(err) != codes.FailedPrecondition || rpc.Reason(err) != "MANIFEST_MISSING" {
		t.Errorf("a plan for a tag whose second phase failed: %v, want MANIFEST_MISSING", err)
	}
	for _, args := range [][]string{
		{"container", "update", "plan", "signed", "--tag", "v2"},
		{"container", "relaunch", "signed", "--tag", "v2", "--yes"},
		{"container", "create", "other", "--repo", dir, "--tag", "v2", "--yes"},
	} {
		f.fails(t, 1, "[MANIFEST_MISSING]", args...)
	}
	if got := f.get(t, "signed"); got.GetActiveTag() != "v1" || got.GetActiveUpdate() != "" {
		t.Errorf("after the refusals %s serves, update %q; want v1 and none", got.GetActiveTag(), got.GetActiveUpdate())
	}
	plan := f.ok(t, "container", "update", "plan", "signed")
	if !strings.Contains(plan, "release 1, by key ") {
		t.Errorf("the plan doesn't say whose release it is:\n%s", plan)
	}
	check := f.get(t, "signed").GetInsecure()
	if len(check) != 1 || check[0] != "simulated" {
		t.Errorf("a signed release is marked %v, want simulated and nothing else", check)
	}
}
