package view

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestDurationsAreWordedForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 340 * time.Millisecond: "0.3s", 3 * time.Second: "3s", 12400 * time.Millisecond: "12s",
		185 * time.Second: "3m05s", 124 * time.Minute: "2h04m", 47 * time.Hour: "47h00m", 50 * time.Hour: "2d",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestColumnsThatSayNothingAreLeftOut(t *testing.T) {
	tb := table{header: []string{"A", "EMPTY", "C"}}
	tb.add("1", "", "three")
	tb.add("long one", "", "")
	want := "A          C\n1          three\nlong one\n"
	if got := tb.text(terminal.Style{}); got != want {
		t.Errorf("table %q, want %q", got, want)
	}
}

func steps(list ...cv1.UpdateStep) []*cv1.StepRecord {
	var out []*cv1.StepRecord
	for i, s := range list {
		out = append(out, &cv1.StepRecord{
			Step: s, EnterTime: timestamppb.New(now.Add(time.Duration(i) * time.Second)), LeaveTime: timestamppb.New(now.Add(time.Duration(i+1) * time.Second)),
		})
	}
	out[len(out)-1].LeaveTime = nil
	return out
}

func TestWhatIsAheadFollowsTheStrategy(t *testing.T) {
	tests := map[string]struct {
		u    *cv1.Update
		want []cv1.UpdateStep
	}{
		"blue-green from the start": {&cv1.Update{OldEnclave: "e"}, []cv1.UpdateStep{reserve, prepare, boot, attest, health, switching, drain, stopOld, release}},
		"a first deployment has no old version to drain": {
			&cv1.Update{History: steps(reserve, prepare, boot)}, []cv1.UpdateStep{attest, health, switching, release},
		},
		"a held one waits": {&cv1.Update{Hold: true, OldEnclave: "e", History: steps(health)}, []cv1.UpdateStep{hold, switching, drain, stopOld, release}},
		"a replace stops the old version first": {
			&cv1.Update{Strategy: cv1.Strategy_STRATEGY_REPLACE, OldEnclave: "e", History: steps(reserve, prepare)},
			[]cv1.UpdateStep{holdRoute, stopOld, awaitFree, boot, attest, health, switching, release},
		},
		"nothing once the candidate is torn down": {&cv1.Update{OldEnclave: "e", History: steps(reserve, stopNew)}, nil},
		"nothing once cancellation was asked for": {&cv1.Update{CancelRequested: true, History: steps(boot)}, nil},
		"nothing at the end":                      {&cv1.Update{Status: cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED}, nil},
		"a second try of a claim goes back":       {&cv1.Update{History: steps(reserve, prepare, boot, prepare)}, []cv1.UpdateStep{boot, attest, health, switching, release}},
	}
	for name, tt := range tests {
		if d := cmp.Diff(tt.want, ahead(tt.u)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestNewsTellEachThingOnce(t *testing.T) {
	v := View{Now: now.Add(time.Minute)}
	was := &cv1.Update{
		Id: "web-u1", CreateTime: timestamppb.New(now), History: steps(reserve, prepare, boot), Step: boot,
		Stages: []*agentv1.BootStage{{Name: "config", Status: agentv1.StageStatus_STAGE_STATUS_RUNNING}},
	}
	if lines := v.News(was, was); len(lines) > 0 {
		t.Errorf("nothing changed, and it says %q", lines)
	}
	is := proto.CloneOf(was)
	is.History, is.Step = steps(reserve, prepare, boot, drain), drain
	is.History[3].Note = "claim refused"
	is.Stages[0].Status, is.Stages[0].Duration = agentv1.StageStatus_STAGE_STATUS_FAILED, durationpb.New(time.Second)
	is.Stages[0].Reason, is.Restoring, is.CancelRequested = "no digest", true, true
	want := []string{
		"     +3s  step drain: claim refused",
		"  +1m00s    stage config failed 1s: no digest",
		"  +1m00s  0 connections to the old version left",
		"  +1m00s  cancellation was asked for",
		"  +1m00s  the update failed: the previous revision is being brought back",
	}
	if d := cmp.Diff(want, v.News(was, is)); d != "" {
		t.Errorf("news (-want +got):\n%s", d)
	}
}

func TestARestoringUpdateSaysSo(t *testing.T) {
	u := &cv1.Update{Restoring: true, CancelRequested: true, Status: cv1.UpdateStatus_UPDATE_STATUS_PENDING, History: steps(reserve)}
	text := strings.Join(View{Now: now}.Picture(u), "\n")
	for _, want := range []string{"previous revision is being brought back", "cancellation was asked for"} {
		if !strings.Contains(text, want) {
			t.Errorf("not said: %q in\n%s", want, text)
		}
	}
}

func TestInsecureStatesAreMarkedWhereverAStatusStands(t *testing.T) {
	v := View{Now: now}
	insecure := []string{"simulated", "debug"}
	c := &cv1.Container{Name: "web", Spec: &cv1.ContainerSpec{Debug: true}, Insecure: insecure, Stages: []*agentv1.BootStage{{}}}
	u := &cv1.Update{Id: "web-u1", Insecure: insecure}
	judged := &cv1.Update{Id: "web-u1", Insecure: []string{"simulated"}, Verdict: &agentv1.Verdict{Insecure: insecure}}
	for name, text := range map[string]string{
		"list": v.Containers("acme", []*cv1.Container{c}), "get": v.Container(c, nil), "question": v.Ask(c), "history": v.Updates([]*cv1.Update{u}),
		"status": v.Update(u), "end": v.End(u), "picture": strings.Join(v.Picture(u), "\n"), "verdict": v.Update(judged),
	} {
		if !strings.Contains(text, "[DEBUG] [SIMULATED]") || strings.Count(strings.SplitN(text, "[SIMULATED]", 2)[0], "[DEBUG]") != 1 {
			t.Errorf("%s has not both marks, once: %s", name, text)
		}
	}
	if !strings.Contains(v.Revisions([]*cv1.Revision{{Number: 1, Debug: true}}), "[DEBUG]") {
		t.Error("a debug revision is not marked")
	}
}

func TestARefusedVerdictNamesTheChecksThatFailed(t *testing.T) {
	u := &cv1.Update{Verdict: &agentv1.Verdict{Format: "sev-snp", Checks: []*agentv1.VerdictCheck{{Name: "nonce", Ok: true}, {Name: "tcb_floor", Detail: "SVN 7 is below 9"}}}}
	if text := (View{Now: now}).Update(u); !strings.Contains(text, "refused (sev-snp, 2 checks)") || !strings.Contains(text, "tcb_floor: SVN 7 is below 9") || strings.Contains(text, "nonce") {
		t.Errorf("verdict:\n%s", text)
	}
}

func TestDowntimeIsNeverGuessed(t *testing.T) {
	v := View{Now: now}
	p := &cv1.Plan{DowntimeRequired: true}
	if text := v.Plan("web", p); !strings.Contains(text, "no boot of this container has been timed yet") {
		t.Errorf("without boots:\n%s", text)
	}
	p.LastBoots = []*durationpb.Duration{durationpb.New(20 * time.Minute)}
	if text := v.Plan("web", p); !strings.Contains(text, "about 20m00s") {
		t.Errorf("with one boot:\n%s", text)
	}
}

func TestEmptyListsSaySo(t *testing.T) {
	v := View{}
	for _, text := range []string{v.Containers("acme", nil), v.Updates(nil), v.Revisions(nil), v.Secrets(nil), v.Hosts(nil), v.Routes(nil), v.Events(nil)} {
		if !strings.HasPrefix(text, "no ") {
			t.Errorf("an empty list says %q", text)
		}
	}
}

func TestNothingBreaksOnAnswersThatAreEmpty(t *testing.T) {
	v := View{Now: now, Style: terminal.Style{Color: true}}
	_ = v.Container(nil, nil) + v.Update(nil) + v.Plan("", nil) + v.Host(nil) + v.Secret(nil) + v.Event(nil) + v.End(nil)
	_ = v.Picture(&cv1.Update{History: []*cv1.StepRecord{{}}, Stages: []*agentv1.BootStage{{}}})
	_ = v.News(nil, &cv1.Update{})
}

func TestAContainerSaysThatItsHostDoesNotAnswer(t *testing.T) {
	v := View{Now: now}
	c := &cv1.Container{Name: "web", Status: cv1.ContainerStatus_CONTAINER_STATUS_RUNNING, ActiveHost: "gpu-1", ActiveEnclave: "c1-r1-1"}
	const mark, detail = "RUNNING [HOST UNREACHABLE]", "gpu-1 does not answer since 2026-03-04T05:03:07Z (3m00s ago)"
	if list, one := v.Containers("acme", []*cv1.Container{c}), v.Container(c, nil); strings.Contains(list+one, "UNREACHABLE") || strings.Contains(one, "does not answer") {
		t.Errorf("its host answers, and it says:\n%s\n%s", list, one)
	}
	c.HostUnreachableSince = timestamppb.New(now.Add(-3 * time.Minute))
	if list := v.Containers("acme", []*cv1.Container{c}); !strings.Contains(list, mark) {
		t.Errorf("want %q in the list:\n%s", mark, list)
	}
	if one := v.Container(c, nil); !strings.Contains(one, mark) || !strings.Contains(one, detail) {
		t.Errorf("want %q and %q in:\n%s", mark, detail, one)
	}
}
