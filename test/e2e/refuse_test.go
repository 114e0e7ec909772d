package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

func (f *fleet) create(t *testing.T, name string, spec *cv1.ContainerSpec) error {
	t.Helper()
	_, err := f.Containers.CreateContainer(bounded(t), &cv1.CreateContainerRequest{Org: dev.Org, Name: name, Spec: spec})
	return err
}

func TestWhatCanNotRunIsRefusedBeforeAnythingBoots(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.versions(t, "refuse", app{secrets: []string{"NOWHERE"}}, app{extra: "enviroment: []"})
	with := func(change func(*cv1.ContainerSpec)) *cv1.ContainerSpec {
		s := &cv1.ContainerSpec{Repository: spec.GetRepository(), Tag: "v1"}
		change(s)
		return s
	}
	for name, c := range map[string]struct {
		spec   *cv1.ContainerSpec
		reason string
		says   []string
	}{
		"a variable the config does not declare": {
			with(func(s *cv1.ContainerSpec) { s.Variables = map[string]string{"LOG_LEVLE": "x"} }), "INPUTS_REFUSED", []string{"LOG_LEVLE"}},
		"a secret that does not exist": {
			with(func(s *cv1.ContainerSpec) { s.Secrets = []string{"NOWHERE"} }), "NO_SUCH_SECRET", []string{"NOWHERE", "secret create"}},
		"a secret the config does not declare": {
			with(func(s *cv1.ContainerSpec) { s.Secrets = []string{"UNASKED"} }), "INPUTS_REFUSED", []string{"UNASKED"}},
		"a misspelt key, with its line": {
			with(func(s *cv1.ContainerSpec) { s.Tag = "v2" }), "CONFIG_REFUSED", []string{"enviroment", "casemate.yml:"}},
		"a tag that does not exist": {
			with(func(s *cv1.ContainerSpec) { s.Tag = "v9" }), "NO_SUCH_TAG", []string{"v9"}},
		"no tag": {
			with(func(s *cv1.ContainerSpec) { s.Tag = "" }), "INCOMPLETE_SPEC", []string{"tag"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, f.create(t, "refuse", c.spec), codes.InvalidArgument, c.reason, c.says...)
		})
	}
	if err := f.create(t, "refuse", &cv1.ContainerSpec{Repository: filepath.Join(f.Dir, "repos", "nothing"), Tag: "v1"}); err == nil {
		t.Error("a repository that is not there was taken")
	}
	if _, err := f.Containers.GetContainer(bounded(t), &cv1.GetContainerRequest{Org: dev.Org, Name: "refuse"}); err == nil {
		t.Error("a refused container has left a record")
	}
	repo := spec.GetRepository()
	f.fails(t, 1, "LOG_LEVLE", "container", "create", "refuse", "--repo", repo, "--tag", "v1", "--variable", "LOG_LEVLE=x", "--yes")
	f.fails(t, 1, "NO_SUCH_SECRET", "container", "create", "refuse", "--repo", repo, "--tag", "v1", "--secret", "NOWHERE", "--yes")
	f.fails(t, 1, "enviroment", "container", "create", "refuse", "--repo", repo, "--tag", "v2", "--yes")
	f.fails(t, 1, "NO_SUCH_TAG", "container", "create", "refuse", "--repo", repo, "--tag", "v9", "--yes")
}

func TestATagThatWasMovedIsRefusedAndTheOldVersionServes(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	spec := f.running(t, "moved", app{}, app{})
	f.updated(t, "moved", "v2", nil, succeeded)
	git(t, spec.GetRepository(), "tag", "-f", "v1", "v2")
	_, err := f.ToTag(bounded(t), "moved", "v1", nil, dev.Ended)
	wantError(t, err, codes.FailedPrecondition, "TAG_MOVED", "v1")
	f.fails(t, 1, "TAG_MOVED", "container", "relaunch", "moved", "--tag", "v1", "--yes")
	if a := f.ask(t, "moved"); a.Tag != "v2" {
		t.Errorf("%+v answers", a)
	}
	// What was pinned needs no repository.
	if err := os.RemoveAll(spec.GetRepository()); err != nil {
		t.Fatal(err)
	}
	f.redeployed(t, "moved", &cv1.ContainerSpec{Variables: map[string]string{"LOG_LEVEL": "debug"}}, "variables")
}

// git runs git in a repository, with no configuration but its own.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...) //nolint:gosec // a test's own arguments
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestRequestsThatBreakTheProtosRulesAreRefusedByField(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	_, err := f.Containers.CreateContainer(bounded(t), &cv1.CreateContainerRequest{Org: dev.Org, Name: "Not A Name", Spec: &cv1.ContainerSpec{}})
	wantError(t, err, codes.InvalidArgument, "INVALID_REQUEST", "name")
	_, err = f.Updates.StartUpdate(bounded(t), &cv1.StartUpdateRequest{Org: dev.Org})
	wantError(t, err, codes.InvalidArgument, "INVALID_REQUEST", "container")
}
