package view

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("no golden file: run go test with -update: %v", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// moving is an update in the last of some steps.
func moving(s cv1.Strategy, status cv1.UpdateStatus, list ...cv1.UpdateStep) *cv1.Update {
	return &cv1.Update{
		Id: "llm-u7", Container: "llm", Kind: "update", Strategy: s, Status: status, Step: list[len(list)-1], Host: "gpu-1",
		FromTag: "v1", FromRevision: 1, ToTag: "v2", ToRevision: 2, OldEnclave: "e1", Candidate: "e2",
		CreateTime: timestamppb.New(now), History: steps(list...), Stages: someStages(),
	}
}

func someStages() []*agentv1.BootStage {
	return []*agentv1.BootStage{
		{Name: "config", Status: agentv1.StageStatus_STAGE_STATUS_OK, Duration: durationpb.New(200 * time.Millisecond)},
		{Name: "gpu", Status: agentv1.StageStatus_STAGE_STATUS_SKIPPED, Reason: "the config asks for none"},
		{Name: "secrets", Status: agentv1.StageStatus_STAGE_STATUS_FAILED, Duration: durationpb.New(3 * time.Second), Reason: "API_KEY was refused"},
		{Name: "images", Status: agentv1.StageStatus_STAGE_STATUS_RUNNING, Duration: durationpb.New(time.Minute)},
		{Name: "health", Status: agentv1.StageStatus_STAGE_STATUS_PENDING},
	}
}

func TestEveryStepHasItsPicture(t *testing.T) {
	const (
		blue    = cv1.Strategy_STRATEGY_BLUE_GREEN
		replace = cv1.Strategy_STRATEGY_REPLACE
		pending = cv1.UpdateStatus_UPDATE_STATUS_PENDING
		ready   = cv1.UpdateStatus_UPDATE_STATUS_READY
	)
	draining := moving(blue, ready, switching, drain)
	draining.ConnectionsLeft = 1
	restoring := moving(replace, pending, boot, health, stopNew, awaitFree, boot)
	restoring.Restoring = true
	v := View{Now: now.Add(10 * time.Second)}
	var b strings.Builder
	for _, u := range []*cv1.Update{
		moving(blue, pending, reserve), moving(blue, pending, reserve, prepare), moving(blue, pending, boot), moving(blue, pending, boot, attest),
		moving(replace, pending, holdRoute), moving(replace, pending, holdRoute, stopOld), moving(replace, pending, stopOld, awaitFree),
		moving(replace, ready, health, switching), draining, moving(blue, ready, stopOld), restoring,
		moving(blue, cv1.UpdateStatus_UPDATE_STATUS_FAILED, health, stopNew, release, done),
		moving(blue, cv1.UpdateStatus_UPDATE_STATUS_CANCELLED, hold, stopNew, release, done),
	} {
		b.WriteString(strings.Join(v.Picture(u), "\n") + "\n----\n")
	}
	golden(t, "pictures", b.String())
}

func TestTablesInColour(t *testing.T) {
	v := View{Now: now, Style: terminal.Style{Color: true}}
	room := &cv1.Room{Gpus: 8, Cpus: 1, MemoryMib: 1500}
	text := v.Hosts([]*cv1.Host{
		{Name: "a", Status: cv1.HostStatus_HOST_STATUS_READY, Free: room, Total: room, GpuOffers: []uint32{0, 8}},
		{Name: "b", Status: cv1.HostStatus_HOST_STATUS_REFUSED, Text: "it follows another cluster", Cordoned: true},
	}) + v.Host(&cv1.Host{Name: "c", Facts: &agentv1.Host{
		Profile: agentv1.CvmProfile_CVM_PROFILE_SEV_SNP,
		Gpus:    []*agentv1.Gpu{{Bdf: "0000:17:00.0", Healthy: true}, {Bdf: "0000:18:00.0", Conditions: []*agentv1.Condition{{Code: "MIG_ON", Severity: agentv1.Severity_SEVERITY_INFO, Text: "MIG is on"}, {Code: "X", Severity: agentv1.Severity_SEVERITY_ERROR}}}},
	}}) + v.Routes([]*cv1.Route{{Domain: "x.example", State: cv1.RouteState_ROUTE_STATE_CLOSED, Org: "o", Container: "x"}}) +
		v.Secrets([]*cv1.Secret{{Name: "K", Version: 1, StaleIn: []string{"x", "y"}}}) +
		v.Events([]*cv1.Event{{Reason: "R", Text: "t", Severity: agentv1.Severity_SEVERITY_ERROR, Time: timestamppb.New(now)}}) +
		v.Plan("x", &cv1.Plan{Changes: []*cv1.Change{{Path: "image of web"}, {Path: "cpus", OldValue: "1", NewValue: "2"}, {Path: "secret A", NewValue: "version 1"}, {Path: "variable B", OldValue: "1"}}, Hosts: []*cv1.HostRoom{{Host: "a", Free: room, Fits: true}}})
	golden(t, "colours", text)
}
