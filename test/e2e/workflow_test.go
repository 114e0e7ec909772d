package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/pkg/release/manifest/manifesttest"
)

// workflow is what of GitHub's workflow files the example uses; anything else in it
// fails the test.
type workflow struct {
	Name        string            `yaml:"name"`
	On          any               `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"`
	Concurrency string            `yaml:"concurrency"`
	Jobs        map[string]job    `yaml:"jobs"`
}

type job struct {
	Needs       string            `yaml:"needs"`
	RunsOn      string            `yaml:"runs-on"`
	Environment string            `yaml:"environment"`
	Permissions map[string]string `yaml:"permissions"`
	Outputs     map[string]string `yaml:"outputs"`
	Steps       []step            `yaml:"steps"`
}

type step struct {
	Name string            `yaml:"name"`
	ID   string            `yaml:"id"`
	Uses string            `yaml:"uses"`
	With map[string]string `yaml:"with"`
	Env  map[string]string `yaml:"env"`
	Run  string            `yaml:"run"`
}

// runner does what GitHub's runner does with a job, on this machine.
type runner struct {
	t *testing.T
	// server holds repository, a bare one, and stands for https://github.com.
	server, repository string
	// bin is put in front of PATH; it has a go that installs what was built here.
	bin, gopath string
	// values are those of expressions, by what stands between ${{ and }}.
	values map[string]string
	// path is what steps appended to $GITHUB_PATH in this job.
	path string
}

var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// expanded replaces expressions; one without a value fails the test.
func (r *runner) expanded(text string) string {
	return expression.ReplaceAllStringFunc(text, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		value, ok := r.values[name]
		if !ok {
			r.t.Errorf("the workflow uses %s, which has no value here", name)
		}
		return value
	})
}

// job runs the steps of a job in an empty workspace, and keeps its outputs.
func (r *runner) job(name string, j job) {
	r.t.Helper()
	workspace := r.t.TempDir()
	r.path = ""
	for _, s := range j.Steps {
		if s.Uses != "" {
			r.checkout(workspace, s)
			continue
		}
		r.run(workspace, s)
	}
	for output, value := range j.Outputs {
		r.values["needs."+name+".outputs."+output] = r.expanded(value)
	}
}

// checkout is actions/checkout: one commit, no tags.
func (r *runner) checkout(workspace string, s step) {
	r.t.Helper()
	ref := "refs/heads/main"
	if s.With["ref"] != "" {
		ref = r.expanded(s.With["ref"])
	}
	if !strings.HasPrefix(s.Uses, "actions/checkout@") {
		r.t.Fatalf("the workflow uses %s, which isn't known here", s.Uses)
	}
	git(r.t, workspace, "init", "-q")
	git(r.t, workspace, "remote", "add", "origin", "file://"+filepath.Join(r.server, r.repository))
	git(r.t, workspace, "fetch", "-q", "--depth", "1", "--no-tags", "origin", ref)
	git(r.t, workspace, "checkout", "-q", "--detach", "FETCH_HEAD")
}

// run runs a step as the runner's default shell for bash does.
func (r *runner) run(workspace string, s step) {
	r.t.Helper()
	files := r.t.TempDir()
	output, path := filepath.Join(files, "output"), filepath.Join(files, "path")
	c := exec.CommandContext(r.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", r.expanded(s.Run)) //nolint:gosec // the example's own steps
	c.Dir = workspace
	c.Env = []string{
		"PATH=" + r.path + r.bin + ":" + os.Getenv("PATH"), "HOME=" + files, "GOPATH=" + r.gopath,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "CI=true",
		"GITHUB_SERVER_URL=" + r.server, "GITHUB_REPOSITORY=" + r.repository, "GITHUB_RUN_NUMBER=7",
		"GITHUB_OUTPUT=" + output, "GITHUB_PATH=" + path,
	}
	for name, value := range s.Env {
		c.Env = append(c.Env, name+"="+r.expanded(value))
	}
	if out, err := c.CombinedOutput(); err != nil {
		r.t.Fatalf("the workflow's step %q: %v\n%s", s.Name, err, out)
	}
	for _, line := range r.lines(output) {
		name, value, _ := strings.Cut(line, "=")
		r.values["steps."+s.ID+".outputs."+name] = value
	}
	for _, line := range r.lines(path) {
		r.path = line + ":" + r.path
	}
}

func (r *runner) lines(file string) []string {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' })
}

// fakeGo is a go that installs the command line that was built here: a workflow takes
// it from the module's proxy. It knows the two things that the workflow asks of it,
// and wants the package to be one of this repository's.
const fakeGo = `#!/bin/sh -e
case "$*" in
"env GOPATH") echo "$GOPATH" ;;
"install github.com/casemate-dev/casemate/cmd/casemate@"*)
	[ -e '%s/cmd/casemate/main.go' ]
	mkdir -p "$GOPATH/bin"
	cp '%s/casemate' "$GOPATH/bin/" ;;
*) echo "go $*: not known here" >&2; exit 1 ;;
esac
`

// newRunner makes a server with the repository of a release that isn't tagged yet.
func newRunner(t *testing.T, f *fleet) *runner {
	t.Helper()
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(f.Dir, "release.key"))
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, server: t.TempDir(), repository: "acme/api", bin: t.TempDir(), gopath: t.TempDir(), values: map[string]string{
		"inputs.version": "v1.2.3", "secrets.CASEMATE_RELEASE_KEY": string(key),
	}}
	write := func(dir, name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(r.bin, "go", fmt.Appendf(nil, fakeGo, root, f.Bin))
	work, boot := t.TempDir(), t.TempDir()
	write(boot, "vmlinuz", manifesttest.Kernel())
	write(boot, "initrd.img", []byte("initrd"))
	write(boot, "OVMF.fd", manifesttest.Firmware())
	write(work, "casemate.yml", []byte(app{}.config()))
	write(work, "fetch-boot-files.sh", []byte("#!/bin/sh -e\ncp "+boot+"/* .\n"))
	write(work, "platforms.yaml", []byte(`kernel: vmlinuz
initrd: initrd.img
command_line: readonly=on casemate.config={config}
machines:
  - {platform: sev-snp, shape: small, firmware: OVMF.fd, vcpu_types: [EPYC-Milan, EPYC-Genoa], guest_features: "0x1"}
  - {platform: tdx, shape: small, firmware: OVMF.fd, kernel_form: as-is}
  - {platform: simulated, shape: dev}
`))
	bare := filepath.Join(r.server, r.repository)
	git(t, work, "init", "-q", "-b", "main")
	git(t, work, "add", ".")
	git(t, work, "-c", "user.name=a", "-c", "user.email=a@acme.test", "commit", "-qm", "Serve")
	git(t, work, "clone", "-q", "--bare", work, bare)
	git(t, bare, "config", "uploadpack.allowAnySHA1InWant", "true") // as GitHub does
	return r
}

func TestTheExampleOfAReleaseWorkflowMakesATagThatCanBeDeployed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(moduleRoot, "docs", "examples", "release-workflow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(&w); err != nil {
		t.Fatal(err)
	}
	if len(w.Jobs) != 2 || w.Jobs["tag"].Needs != "" || w.Jobs["measure-and-sign"].Needs != "tag" {
		t.Fatalf("the workflow's jobs are %+v, want tag, then measure-and-sign", w.Jobs)
	}
	f := blueGreens(t)
	r := newRunner(t, f)
	spec := &cv1.ContainerSpec{Repository: filepath.Join(r.server, r.repository), Tag: "v1.2.3"}

	r.job("tag", w.Jobs["tag"])
	wantError(t, f.create(t, "workflow", spec), codes.FailedPrecondition, "MANIFEST_MISSING")
	r.job("measure-and-sign", w.Jobs["measure-and-sign"])
	f.deployed(t, "workflow", spec)
	defer f.remove(t, "workflow")
	if got := f.ok(t, "container", "update", "plan", "workflow"); !strings.Contains(got, "release 7, by key ") {
		t.Errorf("the plan doesn't say that it is release 7:\n%s", got)
	}
	if got := f.get(t, "workflow"); got.GetActiveCommit() != r.values["needs.tag.outputs.commit"] || got.GetOrg() != dev.Org {
		t.Errorf("the commit %s serves, want %s", got.GetActiveCommit(), r.values["needs.tag.outputs.commit"])
	}
}
