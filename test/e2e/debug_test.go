package e2e

import (
	"slices"
	"strings"
	"testing"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func TestDebugModeIsMarkedEverywhere(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "open", app{})
	spec.Debug, spec.SshKeys = true, []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl dev"}
	u := f.deployed(t, "open", spec)
	c := f.get(t, "open")
	for what, marks := range map[string][]string{
		"the container": c.GetInsecure(), "the update": u.GetInsecure(), "the verdict": u.GetVerdict().GetInsecure(),
	} {
		if !slices.Contains(marks, "debug") || !slices.Contains(marks, "simulated") {
			t.Errorf("%s is marked %v, want debug and simulated", what, marks)
		}
	}
	for _, args := range [][]string{
		{"container", "list"}, {"container", "get", "open"}, {"container", "update", "status", "open"},
		{"container", "update", "history", "open"}, {"container", "revisions", "open"},
	} {
		out := f.ok(t, args...)
		row := line(out, "open")
		if args[1] == "list" && !strings.Contains(row, "DEBUG") || !strings.Contains(out, "DEBUG") && !strings.Contains(out, "debug") {
			t.Errorf("casemate %v does not mark debug:\n%s", args, out)
		}
	}
	u = f.redeployed(t, "open", &cv1.ContainerSpec{}, "debug", "ssh_keys")
	if slices.Contains(u.GetInsecure(), "debug") || slices.Contains(f.get(t, "open").GetInsecure(), "debug") {
		t.Error("without debug the mark is still there")
	}
}

func TestADebugContainerFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "peek", app{})
	says(t, f.ok(t, "container", "create", "peek", "--repo", spec.GetRepository(), "--tag", "v1", "--debug", "--yes"), "DEBUG")
	keyless := f.casemate(t, "container", "create", "peek2", "--repo", spec.GetRepository(), "--tag", "v1", "--ssh-key", "/nonexistent.pub", "--yes")
	if keyless.code != 2 {
		t.Errorf("a key file that is not there gives exit %d, want 2: %s", keyless.code, keyless.err)
	}
}
