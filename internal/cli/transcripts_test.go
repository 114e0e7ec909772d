package cli

import (
	"testing"

	"google.golang.org/grpc/codes"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// scene is one command in one world, and the exit code it ends with.
type scene struct {
	name string
	args []string
	code int
	set  func(*world)
}

func held(w *world) { w.fleet.script, w.fleet.reached = heldUpdate(), 1 }

func stopping(w *world) {
	c := webContainer()
	c.Etag = "c9"
	stopped := inStatus(c, cv1.ContainerStatus_CONTAINER_STATUS_STOPPED)
	stopped.Stages, stopped.ActiveEnclave, stopped.ActiveHost, stopped.Insecure, stopped.StaleSecrets = nil, "", "", nil, nil
	w.fleet.goes = []*cv1.Container{inStatus(c, cv1.ContainerStatus_CONTAINER_STATUS_STOPPING), stopped}
}

func deleting(w *world) {
	w.fleet.goes = []*cv1.Container{inStatus(webContainer(), cv1.ContainerStatus_CONTAINER_STATUS_DELETING), nil}
}

// scenes show every command at least once; docs/cli.md takes its examples from
// them.
var scenes = []scene{
	{name: "container-list", args: []string{"container", "list"}},
	{name: "container-list-json", args: []string{"container", "list", "-o", "json"}},
	{name: "container-list-yaml", args: []string{"container", "list", "-o", "yaml"}},
	{name: "container-list-empty", args: []string{"container", "list"}, set: func(w *world) { w.fleet.containers = nil }},
	{name: "container-get", args: []string{"container", "get", "web"}},
	{name: "container-get-failed", args: []string{"container", "get", "llm"}},
	{name: "container-get-missing", args: []string{"container", "get", "nope"}, code: 1},
	{name: "container-create", args: []string{"container", "create", "web", "--repo", "https://github.com/acme/web", "--tag", "v1.2.4", "--yes"}},
	{name: "container-create-no-wait", args: []string{"container", "create", "web", "--repo", "https://github.com/acme/web", "--tag", "v1.2.4", "--yes", "--no-wait"}},
	{name: "container-template", args: []string{"container", "template", "web", "web-staging", "--variable", "LOG_LEVEL=debug", "--yes", "--no-wait"}},
	{name: "container-relaunch", args: []string{"container", "relaunch", "web", "--tag", "v1.2.4"}, set: func(w *world) { w.answers("y\n") }},
	{name: "container-relaunch-declined", args: []string{"container", "relaunch", "web", "--tag", "v1.2.4"}, code: 1, set: func(w *world) { w.answers("\n") }},
	{name: "container-relaunch-hold", args: []string{"container", "relaunch", "web", "--tag", "v1.2.4", "--hold", "--yes"}, set: func(w *world) { w.fleet.script = heldUpdate() }},
	{name: "container-relaunch-replace", args: []string{"container", "relaunch", "web", "--tag", "v1.2.4", "--allow-downtime", "--yes"}, set: func(w *world) {
		w.fleet.plans, w.fleet.script = []*cv1.Plan{replacePlan()}, replaceUpdate()
	}},
	{name: "container-relaunch-failed", args: []string{"container", "relaunch", "web", "--yes"}, code: 1, set: func(w *world) { w.fleet.script = failingUpdate() }},
	{name: "container-relaunch-cancelled", args: []string{"container", "relaunch", "web", "--yes"}, code: 1, set: func(w *world) { w.fleet.script = append(heldUpdate()[:1], cancelledUpdate()...) }},
	{name: "container-relaunch-json", args: []string{"container", "relaunch", "web", "--yes", "-o", "json"}},
	{name: "container-relaunch-plan-changed", args: []string{"container", "relaunch", "web", "--no-wait"}, set: func(w *world) {
		w.fleet.plans = []*cv1.Plan{bluePlan(), replacePlan()}
		w.answers("y\nyes\n")
	}},
	{name: "container-relaunch-no-terminal", args: []string{"container", "relaunch", "web"}, code: 2},
	{name: "container-relaunch-downtime", args: []string{"container", "relaunch", "web", "--yes"}, code: 1, set: func(w *world) {
		w.fleet.refuse["PlanUpdateRequest"] = rpc.Precondition("DOWNTIME_REQUIRED", "plan", "no host has a free GPU beside what runs: the old version would have to stop first")
	}},
	{name: "container-relaunch-in-progress", args: []string{"container", "relaunch", "web", "--yes"}, code: 1, set: func(w *world) {
		w.fleet.refuse["StartUpdateRequest"] = rpc.Error(codes.Aborted, "UPDATE_IN_PROGRESS", "update web-u4 of web is in progress (STARTED, step HEALTH): wait for it, cancel it, or ask to supersede it", "update", "web-u4")
	}},
	{name: "container-start", args: []string{"container", "start", "llm", "--yes", "--no-wait"}},
	{name: "container-stop", args: []string{"container", "stop", "web"}, set: func(w *world) { stopping(w); w.answers("y\n") }},
	{name: "container-stop-no-wait", args: []string{"container", "stop", "web", "--yes", "--no-wait"}},
	{name: "container-delete", args: []string{"container", "delete", "web"}, set: func(w *world) { deleting(w); w.answers("web\n") }},
	{name: "container-delete-wrong-name", args: []string{"container", "delete", "web"}, code: 1, set: func(w *world) { w.answers("y\n") }},
	{name: "container-logs", args: []string{"container", "logs", "web", "--tail", "2"}, set: func(w *world) {
		w.fleet.logs = [][]byte{[]byte("listening on :8000\n"), []byte("GET / 200\n")}
	}},
	{name: "container-revisions", args: []string{"container", "revisions", "web"}},
	{name: "container-events", args: []string{"container", "events", "web"}},
	{name: "container-update-plan", args: []string{"container", "update", "plan", "web", "--tag", "v1.2.4"}},
	{name: "container-update-status", args: []string{"container", "update", "status", "web"}, set: held},
	{name: "container-update-status-follow", args: []string{"container", "update", "status", "web", "--follow"}, code: 1, set: func(w *world) { w.fleet.script = failingUpdate() }},
	{name: "container-update-accept", args: []string{"container", "update", "accept", "web", "web-u4"}, set: func(w *world) { held(w); w.fleet.accepted = acceptedUpdate() }},
	{name: "container-update-accept-too-early", args: []string{"container", "update", "accept", "web"}, code: 1, set: func(w *world) { w.fleet.script = heldUpdate() }},
	{name: "container-update-cancel", args: []string{"container", "update", "cancel", "web"}, set: func(w *world) { held(w); w.fleet.cancelled = cancelledUpdate() }},
	{name: "container-update-cancel-switched", args: []string{"container", "update", "cancel", "web"}, code: 1, set: func(w *world) {
		w.fleet.refuse["CancelUpdateRequest"] = rpc.Precondition("ALREADY_SWITCHED", "web-u4", "traffic has switched to v1.2.4 already")
	}},
	{name: "container-update-history", args: []string{"container", "update", "history", "web"}},
	{name: "container-update-force", args: []string{"container", "update", "force", "web", "--no-wait"}, set: func(w *world) {
		w.fleet.reached = 6
		w.answers("y\n")
	}},
	{name: "container-update-force-ended", args: []string{"container", "update", "force", "web", "--yes"}, code: 1, set: func(w *world) { w.fleet.reached = 9 }},
	{name: "container-relaunch-deleted", args: []string{"container", "relaunch", "web", "--yes"}, code: 1, set: func(w *world) {
		w.fleet.script = append(goodUpdate()[:2], nil)
	}},
	{name: "secret-list", args: []string{"secret", "list"}},
	{name: "secret-get", args: []string{"secret", "get", "API_KEY"}},
	{name: "secret-create", args: []string{"secret", "create", "TOKEN", "--value-file", "testdata/value.txt"}},
	{name: "secret-set", args: []string{"secret", "set", "API_KEY", "--value-file", "testdata/value.txt"}},
	{name: "secret-set-argument", args: []string{"secret", "set", "API_KEY", "hunter2"}, code: 2},
	{name: "secret-delete", args: []string{"secret", "delete", "DB_URL"}, set: func(w *world) { w.answers("y\n") }},
	{name: "secret-delete-bound", args: []string{"secret", "delete", "API_KEY", "--yes"}, code: 1},
	{name: "host-list", args: []string{"host", "list"}},
	{name: "host-get", args: []string{"host", "get", "gpu-1"}},
	{name: "host-add", args: []string{"host", "add", "gpu-3", "10.0.0.13:7443"}},
	{name: "host-cordon", args: []string{"host", "cordon", "gpu-1"}},
	{name: "host-uncordon", args: []string{"host", "uncordon", "gpu-2"}},
	{name: "host-drain", args: []string{"host", "drain", "gpu-1", "--yes"}, code: 1},
	{name: "host-drain-idle", args: []string{"host", "drain", "gpu-2", "--yes"}},
	{name: "host-remove", args: []string{"host", "remove", "gpu-2", "--yes"}},
	{name: "host-remove-used", args: []string{"host", "remove", "gpu-1", "--yes"}, code: 1},
	{name: "host-forget-lost", args: []string{"host", "forget", "gpu-1", "--force"}, set: func(w *world) { w.answers("y\n") }},
	{name: "attest-container", args: []string{"attest", "container", "web"}, set: func(w *world) { w.fleet.judged = judgedVerdict(true) }},
	{name: "attest-container-json", args: []string{"attest", "container", "web", "-o", "json"}, set: func(w *world) { w.fleet.judged = judgedVerdict(true) }},
	{name: "attest-container-refused", args: []string{"attest", "container", "web"}, code: 1, set: func(w *world) { w.fleet.judged = judgedVerdict(false) }},
	{name: "attest-container-stopped", args: []string{"attest", "container", "web"}, code: 1, set: func(w *world) {
		w.fleet.refuse["AttestContainerRequest"] = rpc.Precondition("NOTHING_SERVES", "container", "no enclave of this container serves: there is nothing to judge")
	}},
	{name: "route-list", args: []string{"route", "list"}},
	{name: "backup", args: []string{"backup", "store-2026-03-04.db"}},
	{name: "backup-taken", args: []string{"backup", "store-2026-03-04.db"}, code: 1, set: func(w *world) { w.written["store-2026-03-04.db"] = "precious" }},
	{name: "config-check", args: []string{"config", "check", "testdata/good.yml", "testdata/bad.yml"}, code: 1},
	{name: "config-check-json", args: []string{"config", "check", "-o", "json", "testdata/good.yml", "testdata/bad.yml"}, code: 1},
	{name: "config-check-usable", args: []string{"config", "check", "testdata/good.yml"}},
	{name: "version", args: []string{"version"}},
	{name: "unknown-command", args: []string{"container", "relunch", "web"}, code: 2},
	{name: "unknown-flag", args: []string{"container", "list", "--colour"}, code: 2},
	{name: "wrong-output", args: []string{"container", "list", "-o", "xml"}, code: 2},
	{name: "missing-argument", args: []string{"container", "get"}, code: 2},
}

func play(t *testing.T, s scene) string {
	t.Helper()
	w := newWorld(t, newFleet())
	if s.set != nil {
		s.set(w)
	}
	code := w.run(t, s.args...)
	if code != s.code {
		t.Errorf("exit code %d, want %d", code, s.code)
	}
	return w.transcript(s.args, code)
}

func TestCommandsSayWhatTheGoldenFilesSay(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			golden(t, s.name, play(t, s))
		})
	}
}
