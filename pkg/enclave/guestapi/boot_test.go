package guestapi

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

func status() *BootStatus {
	b := &BootStatus{Version: 7, Stages: []Stage{}}
	for _, name := range Stages() {
		b.Stages = append(b.Stages, Stage{Name: name, Status: StatusPending})
	}
	b.Stages[0] = Stage{Name: StageConfig, Status: StatusOK, DurationMS: 12}
	b.Stages[1] = Stage{Name: StageNetwork, Status: StatusFailed, Reason: "no route"}
	return b
}

func TestBootStatusIsReadAsItWasWritten(t *testing.T) {
	raw, err := json.Marshal(status())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseBoot(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status(), got); diff != "" {
		t.Error(diff)
	}
}

func TestBootStatusOfAHostileGuest(t *testing.T) {
	raw, _ := json.Marshal(status())
	good := string(raw)
	for rule, c := range map[string]struct{ raw, want string }{
		"an unknown status":       {strings.Replace(good, `"ok"`, `"fine"`, 1), "not known"},
		"an unknown member":       {strings.Replace(good, "{", `{"x":1,`, 1), "unknown member"},
		"a negative duration":     {strings.Replace(good, ":12", ":-12", 1), "whole number"},
		"a reason without end":    {strings.Replace(good, "no route", strings.Repeat("x", MaxReason+1), 1), "at most"},
		"stages without end":      {`{"version":1,"ready":true,"stopping":false,"stages":[` + strings.Repeat("{},", 40) + `{}]}`, "missing"},
		"ready that is no truth":  {strings.Replace(good, `"ready":false`, `"ready":0`, 1), "true or false"},
		"more bytes than allowed": {good + strings.Repeat(" ", MaxBoot), "are read"},
	} {
		if _, err := ParseBoot([]byte(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, expected it to say %q", rule, err, c.want)
		}
	}
	b, err := ParseBoot([]byte(strings.Replace(good, "no route", `\u001b[2J\u0007x`, 1)))
	if err != nil || b.Stages[1].Reason != " [2J x" {
		t.Errorf("a reason with control characters became %q (%v)", b.Stages[1].Reason, err)
	}
}

func TestStatusQueries(t *testing.T) {
	b := status()
	if s, ok := b.Failed(); !ok || s.Name != StageNetwork {
		t.Errorf("failed stage is %v", s)
	}
	if s := b.Current(); s.Name != StageNetwork {
		t.Errorf("current stage is %v", s)
	}
	if _, ok := b.Stage("nothing"); ok {
		t.Error("found a stage that is not there")
	}
	if s := (&BootStatus{}).Current(); s.Name != "" {
		t.Errorf("an empty status is at %v", s)
	}
	p := b.Proto()
	if p[0].GetStatus() != agentv1.StageStatus_STAGE_STATUS_OK || p[0].GetDuration().AsDuration().Milliseconds() != 12 {
		t.Errorf("as the agent's API has it: %v", p[0])
	}
}

func TestRefusal(t *testing.T) {
	r := ParseRefusal(503, []byte(`{"code":"NOT_READY","stage":"health","text":"wait"}`))
	if r.Code != CodeNotReady || r.Stage != StageHealth || !strings.Contains(r.Error(), "stage health") {
		t.Errorf("refusal is %v", r)
	}
	for _, raw := range []string{"", "<html>", `{"code":1}`} {
		if r := ParseRefusal(502, []byte(raw)); r.Code != "" || !strings.Contains(r.Error(), "502") {
			t.Errorf("%q became %v", raw, r)
		}
	}
}

func TestClipKeepsWholeCharacters(t *testing.T) {
	c := Clip(strings.Repeat("é", MaxReason))
	if len(c) > MaxReason || !utf8.ValidString(c) {
		t.Errorf("clipped to %d bytes, valid %v", len(c), utf8.ValidString(c))
	}
	if Clip("short") != "short" {
		t.Error("a short text was changed")
	}
}

func FuzzParseBoot(f *testing.F) {
	raw, _ := json.Marshal(status())
	f.Add(raw)
	f.Add([]byte(`{"stages":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBoot(raw)
		if err == nil && (len(b.Stages) > maxStages || len(b.Proto()) != len(b.Stages)) {
			t.Errorf("read beyond its bounds: %v", b)
		}
	})
}
