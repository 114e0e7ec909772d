package cli

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// now is the clock of every test.
var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

func webContainer() *cv1.Container {
	return &cv1.Container{
		Org: "default", Name: "web", Uid: "c7f3a1", Status: cv1.ContainerStatus_CONTAINER_STATUS_RUNNING,
		Spec: &cv1.ContainerSpec{
			Repository: "https://github.com/acme/web", Tag: "v1.2.3", Domain: "web.example.com",
			Variables: map[string]string{"LOG_LEVEL": "info", "REGION": "eu"}, Secrets: []string{"API_KEY"},
		},
		ActiveRevision: 3, ActiveTag: "v1.2.3", ActiveCommit: "8d1f0c2b9a7e6d5c4b3a29181716151413121110",
		ActiveEnclave: "c7f3a1-r3-4", ActivePlatformDigest: strings.Repeat("5c", 32), ActiveHost: "gpu-1", LastUpdate: "web-u3", StaleSecrets: []string{"API_KEY"},
		Insecure: []string{"simulated"}, Cpus: 4, MemoryMib: 16384, Gpus: 1, Stages: bootedStages(),
		CreateTime: ago(50 * time.Hour), UpdateTime: ago(3 * time.Hour), Etag: "c1",
	}
}

func llmContainer() *cv1.Container {
	return &cv1.Container{
		Org: "default", Name: "llm", Uid: "d00d42", Status: cv1.ContainerStatus_CONTAINER_STATUS_FAILED,
		Reason: "IMAGE_MISSING", Text: "the registry has no image ghcr.io/acme/llm@sha256:ab12: push it, then redeploy",
		Spec: &cv1.ContainerSpec{
			Repository: "ssh://git@github.com/acme/llm", Tag: "v2.0.0", Debug: true, Host: "gpu-2",
			SshKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKv3sample0key1bytes2 me@laptop"},
		},
		LastUpdate: "llm-u1", LeftoverEnclaves: []string{"d00d42-r1-1"},
		CreateTime: ago(90 * time.Minute), UpdateTime: ago(5 * time.Minute), Etag: "c2",
	}
}

func bootedStages() []*agentv1.BootStage {
	var out []*agentv1.BootStage
	for i, name := range []string{"config", "network", "identity", "evidence", "gpu", "secrets", "images", "containers", "health"} {
		out = append(out, &agentv1.BootStage{Name: name, Status: agentv1.StageStatus_STAGE_STATUS_OK, Duration: durationpb.New(time.Duration(i*i+1) * 100 * time.Millisecond)})
	}
	out[4].Status, out[4].Reason, out[4].Duration = agentv1.StageStatus_STAGE_STATUS_SKIPPED, "the config asks for none", nil
	return out
}

// bootingStages are the stages with the first n done and the next running.
func bootingStages(n int) []*agentv1.BootStage {
	out := bootedStages()
	for i, s := range out {
		switch {
		case i == n:
			s.Status = agentv1.StageStatus_STAGE_STATUS_RUNNING
		case i > n:
			s.Status, s.Duration, s.Reason = agentv1.StageStatus_STAGE_STATUS_PENDING, nil, ""
		}
	}
	return out
}

func bluePlan() *cv1.Plan {
	return &cv1.Plan{
		Strategy: cv1.Strategy_STRATEGY_BLUE_GREEN, Reason: "host gpu-2 has room beside what runs, so the old version serves until the new one is ready",
		LastBoots: []*durationpb.Duration{durationpb.New(42 * time.Second), durationpb.New(39 * time.Second)},
		Host:      "gpu-2", Reserves: &cv1.Room{Gpus: 1, Cpus: 4, MemoryMib: 16384},
		Hosts: []*cv1.HostRoom{
			{Host: "gpu-1", Free: &cv1.Room{Gpus: 0, Cpus: 12, MemoryMib: 65536}, GpuOffers: []uint32{0}, Missing: "1 GPU"},
			{Host: "gpu-2", Free: &cv1.Room{Gpus: 8, Cpus: 128, MemoryMib: 1048576}, GpuOffers: []uint32{0, 1, 8}, Fits: true},
		},
		Changes: []*cv1.Change{
			{Path: "tag", OldValue: "v1.2.3", NewValue: "v1.2.4"},
			{Path: "variable LOG_LEVEL", OldValue: "info", NewValue: "debug"},
			{Path: "variable REGION", OldValue: "eu"},
			{Path: "secret DB_URL", NewValue: "version 1"},
		},
		SecretsRefreshed: []string{"API_KEY"}, Tag: "v1.2.4", Commit: "1111111111111111222222222222222233333333",
		Etag: "p1", Warnings: []string{"variable REGION is declared and has no value"},
		Manifest: &cv1.Manifest{Number: 24, Digest: "sha256:" + strings.Repeat("5", 64), SignedBy: "key " + strings.Repeat("4d", 32)},
	}
}

func replacePlan() *cv1.Plan {
	p := bluePlan()
	p.Strategy, p.DowntimeRequired, p.Etag, p.Warnings = cv1.Strategy_STRATEGY_REPLACE, true, "p2", nil
	p.Reason = "no host has room for a second copy: the old version has to stop first"
	p.Host, p.Hosts = "gpu-1", p.Hosts[:1]
	return p
}

// step names for histories.
const (
	sReserve   = cv1.UpdateStep_UPDATE_STEP_RESERVE
	sPrepare   = cv1.UpdateStep_UPDATE_STEP_PREPARE
	sHoldRoute = cv1.UpdateStep_UPDATE_STEP_HOLD_ROUTE
	sStopOld   = cv1.UpdateStep_UPDATE_STEP_STOP_OLD
	sAwaitFree = cv1.UpdateStep_UPDATE_STEP_AWAIT_FREE
	sBoot      = cv1.UpdateStep_UPDATE_STEP_BOOT
	sAttest    = cv1.UpdateStep_UPDATE_STEP_ATTEST
	sHealth    = cv1.UpdateStep_UPDATE_STEP_HEALTH
	sHold      = cv1.UpdateStep_UPDATE_STEP_HOLD
	sSwitch    = cv1.UpdateStep_UPDATE_STEP_SWITCH
	sDrain     = cv1.UpdateStep_UPDATE_STEP_DRAIN
	sStopNew   = cv1.UpdateStep_UPDATE_STEP_STOP_NEW
	sRelease   = cv1.UpdateStep_UPDATE_STEP_RELEASE
	sDone      = cv1.UpdateStep_UPDATE_STEP_DONE
)

// base is an update of web that was asked for two minutes ago.
func base() *cv1.Update {
	return &cv1.Update{
		Id: "web-u4", Org: "default", Container: "web", Kind: "update", Strategy: cv1.Strategy_STRATEGY_BLUE_GREEN,
		FromRevision: 3, ToRevision: 4, FromTag: "v1.2.3", ToTag: "v1.2.4", OldEnclave: "c7f3a1-r3-4",
		Candidate: "c7f3a1-r4-5", Host: "gpu-2", Plan: bluePlan(), CreateTime: ago(2 * time.Minute), Etag: "u0",
	}
}

// at is an update that has gone through the steps, five seconds each.
func at(u *cv1.Update, status cv1.UpdateStatus, steps ...cv1.UpdateStep) *cv1.Update {
	u = proto.CloneOf(u)
	u.Status, u.Step, u.History = status, steps[len(steps)-1], nil
	begin := u.GetCreateTime().AsTime()
	for i, s := range steps {
		h := &cv1.StepRecord{Step: s, EnterTime: timestamppb.New(begin.Add(time.Duration(5*i) * time.Second))}
		if i+1 < len(steps) {
			h.LeaveTime = timestamppb.New(begin.Add(time.Duration(5*i+5) * time.Second))
		} else if s == sDone {
			u.EndTime = h.EnterTime
		}
		u.History = append(u.History, h)
	}
	u.Etag = "u" + u.Step.String()
	return u
}

func with(u *cv1.Update, change func(*cv1.Update)) *cv1.Update {
	u = proto.CloneOf(u)
	change(u)
	return u
}

func stages(n int) func(*cv1.Update) {
	return func(u *cv1.Update) { u.Stages = bootingStages(n) }
}

const (
	pending   = cv1.UpdateStatus_UPDATE_STATUS_PENDING
	started   = cv1.UpdateStatus_UPDATE_STATUS_STARTED
	ready     = cv1.UpdateStatus_UPDATE_STATUS_READY
	failed    = cv1.UpdateStatus_UPDATE_STATUS_FAILED
	succeeded = cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED
	cancelled = cv1.UpdateStatus_UPDATE_STATUS_CANCELLED
)

// goodUpdate are the states of a blue-green update that goes well.
func goodUpdate() []*cv1.Update {
	u := base()
	insecure := func(u *cv1.Update) { u.Insecure = []string{"simulated"}; u.Stages = bootedStages() }
	return []*cv1.Update{
		at(u, pending, sReserve, sPrepare),
		at(u, pending, sReserve, sPrepare, sBoot),
		with(at(u, pending, sReserve, sPrepare, sBoot), stages(3)),
		with(at(u, started, sReserve, sPrepare, sBoot, sAttest), stages(5)),
		with(at(u, started, sReserve, sPrepare, sBoot, sAttest, sHealth), stages(8)),
		with(at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sSwitch), insecure),
		with(at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sSwitch, sDrain), func(u *cv1.Update) { insecure(u); u.ConnectionsLeft = 3 }),
		with(at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sSwitch, sDrain), func(u *cv1.Update) { insecure(u); u.ConnectionsLeft = 1 }),
		with(at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sSwitch, sDrain, sStopOld), insecure),
		with(at(u, succeeded, sReserve, sPrepare, sBoot, sAttest, sHealth, sSwitch, sDrain, sStopOld, sRelease, sDone), insecure),
	}
}

// replaceUpdate are the states of a replace that goes well.
func replaceUpdate() []*cv1.Update {
	u := with(base(), func(u *cv1.Update) { u.Strategy = cv1.Strategy_STRATEGY_REPLACE; u.Host = "gpu-1" })
	return []*cv1.Update{
		at(u, pending, sReserve, sPrepare),
		at(u, pending, sReserve, sPrepare, sHoldRoute, sStopOld),
		at(u, pending, sReserve, sPrepare, sHoldRoute, sStopOld, sAwaitFree),
		with(at(u, pending, sReserve, sPrepare, sHoldRoute, sStopOld, sAwaitFree, sBoot), stages(2)),
		with(at(u, started, sReserve, sPrepare, sHoldRoute, sStopOld, sAwaitFree, sBoot, sAttest, sHealth), stages(8)),
		with(at(u, succeeded, sReserve, sPrepare, sHoldRoute, sStopOld, sAwaitFree, sBoot, sAttest, sHealth, sSwitch, sRelease, sDone), stages(9)),
	}
}

// failingUpdate are the states of an update whose candidate never gets healthy.
func failingUpdate() []*cv1.Update {
	u := base()
	sick := func(u *cv1.Update) {
		u.Reason, u.Text = "HEALTH_TIMEOUT", "the health check did not pass in 30m: see the log of c7f3a1-r4-5"
		u.Stages = bootingStages(8)
		u.Stages[8].Status, u.Stages[8].Reason = agentv1.StageStatus_STAGE_STATUS_FAILED, "exit status 7"
	}
	return []*cv1.Update{
		with(at(u, started, sReserve, sPrepare, sBoot, sAttest, sHealth), stages(8)),
		with(at(u, started, sReserve, sPrepare, sBoot, sAttest, sHealth, sStopNew), sick),
		with(at(u, failed, sReserve, sPrepare, sBoot, sAttest, sHealth, sStopNew, sRelease, sDone), sick),
	}
}

// heldUpdate are the states of an update that waits to be accepted.
func heldUpdate() []*cv1.Update {
	u := with(base(), func(u *cv1.Update) { u.Hold = true; u.Insecure = []string{"simulated"} })
	u.Verdict = &agentv1.Verdict{Accepted: true, Format: "simulated", Insecure: []string{"simulated"}, Checks: []*agentv1.VerdictCheck{{Name: "nonce", Ok: true}, {Name: "measurement", Ok: true}}}
	return []*cv1.Update{
		with(at(u, started, sReserve, sPrepare, sBoot, sAttest, sHealth), stages(8)),
		with(at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sHold), func(u *cv1.Update) {
			u.Stages, u.StepDeadline = bootedStages(), timestamppb.New(now.Add(24*time.Hour))
		}),
	}
}

// acceptedUpdate is what follows heldUpdate once it is accepted, cancelledUpdate
// once it is cancelled.
func acceptedUpdate() []*cv1.Update {
	u := heldUpdate()[1]
	return []*cv1.Update{
		at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sHold, sSwitch),
		at(u, succeeded, sReserve, sPrepare, sBoot, sAttest, sHealth, sHold, sSwitch, sDrain, sStopOld, sRelease, sDone),
	}
}

func cancelledUpdate() []*cv1.Update {
	u := with(heldUpdate()[1], func(u *cv1.Update) {
		u.CancelRequested, u.Reason, u.Text = true, "CANCELLED", "cancelled as asked: no traffic was switched"
	})
	return []*cv1.Update{
		at(u, ready, sReserve, sPrepare, sBoot, sAttest, sHealth, sHold, sStopNew),
		at(u, cancelled, sReserve, sPrepare, sBoot, sAttest, sHealth, sHold, sStopNew, sRelease, sDone),
	}
}

// judgedVerdict is the verdict on an enclave that was asked for its evidence.
func judgedVerdict(accepted bool) *agentv1.Verdict {
	floor := &agentv1.VerdictCheck{Name: "tcb_floor", Ok: accepted, Detail: "the TCB is 4.0.24.219"}
	if !accepted {
		floor.Detail += ", expected at least 4.0.25.0\x1b[2J"
	}
	return &agentv1.Verdict{
		Accepted: accepted, Format: "sev-snp", NotPinned: []string{"id_key_digest"}, Time: timestamppb.New(time.Unix(1_700_000_000, 0)),
		Checks: []*agentv1.VerdictCheck{{Name: "signature_chain", Ok: true, Detail: "signed by a VCEK of AMD's"}, floor},
	}
}
