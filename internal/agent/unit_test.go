package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

func TestSpecsThatAreRefused(t *testing.T) {
	allow := Policy{Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, AllowSimulated: true, Simulated: true}
	type spec = agentv1.EnclaveSpec
	for name, c := range map[string]struct {
		policy Policy
		change func(*spec)
		reason string
	}{
		"as it should be":                      {allow, func(*spec) {}, ""},
		"another cluster's platform part":      {allow, func(s *spec) { s.Platform.ClusterId = "c2" }, "SPEC_MISMATCH"},
		"no platform part":                     {allow, func(s *spec) { s.Platform = nil }, "SPEC_MISMATCH"},
		"another profile":                      {allow, func(s *spec) { s.Profile = agentv1.CvmProfile_CVM_PROFILE_TDX }, "PROFILE_MISMATCH"},
		"no TEE where that is not allowed":     {Policy{Profile: allow.Profile}, func(*spec) {}, "INSECURE_NOT_ALLOWED"},
		"simulated TDX where it isn't allowed": {Policy{Profile: allow.Profile, Simulated: true}, func(*spec) {}, "INSECURE_NOT_ALLOWED"},
		"debug where that is not allowed":      {allow, func(s *spec) { s.Platform.Debug = true }, "INSECURE_NOT_ALLOWED"},
		"SSH keys without debug":               {allow, func(s *spec) { s.Platform.SshKeys = []string{"k"} }, "SPEC_MISMATCH"},
		"more CPUs than the config":            {allow, func(s *spec) { s.Cpus++ }, "SPEC_MISMATCH"},
		"less memory than the config":          {allow, func(s *spec) { s.MemoryMib-- }, "SPEC_MISMATCH"},
		"more GPUs than the config":            {allow, func(s *spec) { s.Gpus++ }, "SPEC_MISMATCH"},
		"another CVM version":                  {allow, func(s *spec) { s.CvmVersion = "0.0.1" }, "SPEC_MISMATCH"},
		"a config that is none":                {allow, func(s *spec) { s.Config = []byte("x: 1") }, "INVALID_CONFIG"},
		"a config under a strange name":        {allow, func(s *spec) { s.ConfigName = "../x" }, "INVALID_CONFIG"},
		"a variable that is not declared":      {allow, func(s *spec) { s.Platform.Variables = map[string]string{"X": "1"} }, "SPEC_MISMATCH"},
		"a secret that is not declared":        {allow, func(s *spec) { s.Platform.Secrets = []string{"X"} }, "SPEC_MISMATCH"},
		"a measurement that is none":           {allow, func(s *spec) { s.ExpectedMeasurements = []string{"XYZ"} }, "INVALID_MEASUREMENT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpec(1)
			c.change(s)
			err := c.policy.checkSpec("c1", s)
			if rpc.Reason(err) != c.reason || (err == nil) != (c.reason == "") {
				t.Errorf("it gives %v, expected reason %q", err, c.reason)
			}
		})
	}
}

func TestConditionsKeepTheirTimeAndDoNotFlap(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConditionSet(func() time.Time { return now })
	begun := now
	c := condition{code: "X", visible: 10 * time.Second, hold: 5 * time.Second}
	s.set(c)
	if len(s.list()) != 0 {
		t.Error("it is told before its time")
	}
	now = now.Add(10 * time.Second)
	s.set(c)
	if l := s.list(); len(l) != 1 || !l[0].GetSince().AsTime().Equal(begun) {
		t.Errorf("told: %v, expected since %s", l, begun)
	}
	s.clear("X", "")
	now = now.Add(4 * time.Second)
	if len(s.list()) != 1 {
		t.Error("it is gone before the hold time")
	}
	s.set(c)
	if l := s.list(); !l[0].GetSince().AsTime().Equal(begun) {
		t.Errorf("one that comes back within the hold time begins anew: %v", l)
	}
	s.clear("X", "")
	now = now.Add(5 * time.Second)
	if len(s.list()) != 0 {
		t.Error("it is told after its end")
	}
}

func TestABriefConditionIsNeverTold(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConditionSet(func() time.Time { return now })
	s.set(condition{code: "X", visible: 10 * time.Second, hold: time.Hour})
	now = now.Add(time.Second)
	s.clear("X", "")
	now = now.Add(20 * time.Second)
	if l := s.list(); len(l) != 0 {
		t.Errorf("told: %v", l)
	}
}

func TestReplaceEndsWhatIsNotThereAnyMore(t *testing.T) {
	s := newConditionSet(time.Now)
	ours := func(code string) bool { return strings.HasPrefix(code, "GPU_") }
	s.set(condition{code: "OTHER"})
	s.replace(ours, []condition{{code: "GPU_A", subject: "1"}, {code: "GPU_A", subject: "2"}})
	s.replace(ours, []condition{{code: "GPU_A", subject: "2"}})
	var got []string
	for _, c := range s.list() {
		got = append(got, c.GetCode()+c.GetSubject())
	}
	if !slices.Equal(got, []string{"GPU_A2", "OTHER"}) {
		t.Errorf("told: %v", got)
	}
}

func TestABucketGivesABurstThenARate(t *testing.T) {
	now := time.Unix(1000, 0)
	b := &bucket{now: func() time.Time { return now }, interval: time.Second, burst: 3}
	taken := 0
	for range 10 {
		if b.take() {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("a burst gives %d, expected 3", taken)
	}
	now = now.Add(time.Second)
	if !b.take() || b.take() {
		t.Error("after an interval not exactly one more is given")
	}
}

func TestGenerationsGrowThroughRestartsAndClocksThatGoBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.json")
	now, last, incarnation := time.Unix(1_700_000_000, 0), int64(0), ""
	step := func(what string, another bool) {
		t.Helper()
		next, id, err := beginRun(path, now)
		if err != nil || next <= last {
			t.Errorf("%s: %d follows %d, %v", what, next, last, err)
		}
		if id == "" || (id != incarnation) != another {
			t.Errorf("%s: incarnation %q follows %q", what, id, incarnation)
		}
		last, incarnation = next, id
	}
	step("the first run", true)
	step("a run in the same second", false)
	now = now.Add(-time.Hour)
	step("a clock that went back", false)
	now = now.Add(2 * time.Hour)
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	step("a damaged file", true)
	if err := os.WriteFile(path, []byte(`{"version":1,"run":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	step("a file from before there were incarnations", true)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	step("a lost file", true)
}

func TestExitsHaveTheReasonThatTellsMost(t *testing.T) {
	failed := &guestapi.BootStatus{Stages: []guestapi.Stage{{Name: "images", Status: guestapi.StatusFailed, Reason: "IMAGE_MISSING: x"}}}
	sick := &guestapi.BootStatus{Stages: []guestapi.Stage{{Name: "health", Status: guestapi.StatusFailed}}}
	for name, c := range map[string]struct {
		exit enclave.Exit
		last *guestapi.BootStatus
		want string
	}{
		"it died":                       {enclave.Exit{Reason: enclave.ReasonDied}, nil, "VM_EXITED"},
		"it powered off by itself":      {enclave.Exit{Reason: enclave.ReasonPoweredOff}, sick, "VM_EXITED"},
		"nobody knows why":              {enclave.Exit{}, nil, "VM_EXITED"},
		"it never booted":               {enclave.Exit{Reason: enclave.ReasonBootFailed}, nil, "BOOT_FAILED"},
		"its guest had said why before": {enclave.Exit{Reason: enclave.ReasonDied}, failed, "IMAGE_MISSING"},
	} {
		if got := exitOutcome(c.exit, c.last); got.reason != c.want || got.state != stateFailed {
			t.Errorf("%s: %+v, expected %s", name, got, c.want)
		}
	}
}

func TestWhatAGuestSaysMeans(t *testing.T) {
	status := func(name string, s guestapi.Status, ready bool) *guestapi.BootStatus {
		return &guestapi.BootStatus{Ready: ready, Stages: []guestapi.Stage{{Name: name, Status: s}}}
	}
	for name, c := range map[string]struct {
		status *guestapi.BootStatus
		before bool // it was healthy before
		want   agentv1.EnclaveState
	}{
		"ready":                                 {status("health", guestapi.StatusOK, true), false, stateHealthy},
		"waiting for secrets":                   {status("secrets", guestapi.StatusRunning, false), false, stateStarting},
		"not healthy yet":                       {status("health", guestapi.StatusFailed, false), false, stateStarting},
		"not healthy any more":                  {status("health", guestapi.StatusFailed, false), true, stateUnhealthy},
		"a stage failed":                        {status("gpu", guestapi.StatusFailed, false), false, stateFailed},
		"a stage failed that claims to be well": {status("gpu", guestapi.StatusFailed, true), true, stateFailed},
		"nothing at all":                        {&guestapi.BootStatus{}, false, stateStarting},
	} {
		if got := guestOutcome(c.status, c.before); got.state != c.want {
			t.Errorf("%s: %s, expected %s", name, got.state, c.want)
		}
	}
}

func TestAnAgentWithoutAJudgeAcceptsNothing(t *testing.T) {
	cfg := newConfig(t, newBackend())
	cfg.Judge = nil
	cfg, err := cfg.checked()
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{cfg: cfg}
	spec := newSpec(0)
	raw, key, err := newGuest(spec).Attestation(t.Context(), [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"rubbish": []byte("{"), "nothing": nil, "unsigned evidence": raw} {
		if v := a.judge(t.Context(), raw, [32]byte{}, key, spec); v.Accepted || len(v.Failed()) == 0 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	spec.ExpectedMeasurements = []string{"0a"}
	if v := a.judge(t.Context(), raw, [32]byte{}, key, spec); v.Accepted || v.Failed()[0].Name != "measurement" {
		t.Errorf("a measurement that is none: %+v", v)
	}
}

func TestWhatTheKernelSaysOfItsTEE(t *testing.T) {
	const snp, tdx = agentv1.CvmProfile_CVM_PROFILE_SEV_SNP, agentv1.CvmProfile_CVM_PROFILE_TDX
	root := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		full := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o700), os.WriteFile(full, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckTEE(root, agentv1.CvmProfile_CVM_PROFILE_NONE); err != nil {
		t.Errorf("none: %v", err)
	}
	if CheckTEE(root, tdx) == nil || CheckTEE(root, snp) == nil {
		t.Error("a kernel without either passes")
	}
	put("sys/module/kvm_intel/parameters/tdx", "N\n")
	if CheckTEE(root, tdx) == nil {
		t.Error("TDX that is off passes")
	}
	put("sys/module/kvm_intel/parameters/tdx", "Y\n")
	if err := CheckTEE(root, tdx); err != nil {
		t.Errorf("TDX that is on: %v", err)
	}
	put("sys/module/kvm_amd/parameters/sev_snp", "Y\n")
	if CheckTEE(root, snp) == nil {
		t.Error("SEV-SNP without its device passes")
	}
	put("dev/sev", "")
	if CheckTEE(root, snp) == nil {
		t.Error("a file in the device's place passes")
	}
	put("proc/sys/kernel/random/boot_id", "b-1\n")
	if id, err := BootID(root); err != nil || id != "b-1" {
		t.Errorf("boot id %q, %v", id, err)
	}
}

func TestAChangeOfModeDoesNotChangeWhatAHostCanGive(t *testing.T) {
	s := gpu.Snapshot{
		GPUs: []gpu.GPU{
			{BDF: "0000:17:00.0", Reasons: []gpu.Reason{{Code: gpu.ReasonSwitching}}},
			{BDF: "0000:2a:00.0", Reasons: []gpu.Reason{{Code: gpu.ReasonSwitching}, {Code: gpu.ReasonSick}}},
		},
		Switches: []gpu.Switch{{BDF: "0000:05:00.0"}},
	}
	got := settled(s)
	if !got.GPUs[0].Healthy || got.GPUs[1].Healthy || !got.Switches[0].Healthy || s.GPUs[0].Healthy {
		t.Errorf("settled: %+v, before %+v", got, s)
	}
}

func TestConfigsThatCantWork(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no name":      func(c *Config) { c.Name = "" },
		"no backend":   func(c *Config) { c.Backend = nil },
		"no inventory": func(c *Config) { c.Inventory = nil },
		"no profile":   func(c *Config) { c.Policy.Profile = 0 },
		"a bad pin":    func(c *Config) { c.ClusterID = "/" },
	} {
		cfg := newConfig(t, newBackend())
		change(&cfg)
		if a, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = a.Close()
		}
	}
	cfg := newConfig(t, newBackend())
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil {
		t.Error("two agents share a state folder")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzCheckConfig(f *testing.F) {
	f.Add(newSpec(1).GetConfig())
	f.Add([]byte("containers: &a [*a]"))
	f.Fuzz(func(t *testing.T, config []byte) {
		s := newSpec(1)
		s.Config = config
		if err := checkConfig(s); err != nil && rpc.Reason(err) == "" {
			t.Errorf("a refusal without a reason: %v", err)
		}
	})
}
