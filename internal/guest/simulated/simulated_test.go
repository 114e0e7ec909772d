package simulated

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
	"github.com/casemate-dev/casemate/pkg/release"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newDir(t *testing.T) guestdir.Dir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a-r1-1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return guestdir.Dir(dir)
}

func TestConsoleIsBounded(t *testing.T) {
	dir := newDir(t)
	c, err := openConsole(dir, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := fmt.Fprintf(c, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var kept string
	for _, name := range []string{guestdir.OldConsole, guestdir.ConsoleFile} {
		b, err := os.ReadFile(dir.Path(name))
		if err != nil || len(b) > 100 {
			t.Errorf("%s has %d bytes, %v; expected 100 at most", name, len(b), err)
		}
		kept += string(b)
	}
	if !strings.HasSuffix(kept, "line 48\nline 49\n") || strings.Contains(kept, "line 1\n") {
		t.Errorf("kept %q, expected the newest lines", kept)
	}
	again, err := openConsole(dir, 100, false)
	if err != nil || again.size == 0 {
		t.Errorf("reopened at %d bytes, %v", again.size, err)
	}
	_ = again.Close()
}

// still is a clock that stands where it is put.
type still struct {
	guest.RealClock
	now time.Time
}

func (s *still) Now() time.Time { return s.now }

func TestHealthFollowsLoadTimeAndFaults(t *testing.T) {
	begin := time.Unix(1000, 0)
	for rule, c := range map[string]struct {
		f       faults.Faults
		after   time.Duration
		healthy bool
	}{
		"at once":            {faults.Faults{}, 0, true},
		"while it loads":     {faults.Faults{LoadTime: time.Second}, 999 * time.Millisecond, false},
		"once it has loaded": {faults.Faults{LoadTime: time.Second}, time.Second, true},
		"never":              {faults.Faults{Kind: faults.NeverHealthy}, time.Hour, false},
		"before it turns":    {faults.Faults{LoadTime: time.Second, Kind: faults.UnhealthyAfter, After: time.Second}, 1999 * time.Millisecond, true},
		"after it turned":    {faults.Faults{LoadTime: time.Second, Kind: faults.UnhealthyAfter, After: time.Second}, 2 * time.Second, false},
	} {
		w := &workload{faults: c.f, started: begin, clock: &still{now: begin.Add(c.after)}}
		if err := w.healthy(); (err == nil) != c.healthy {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestSecretsAreShownByDigestOnly(t *testing.T) {
	r := &runtime{id: "x", spec: &agentv1.EnclaveSpec{}}
	container := release.Container{Name: "app", Env: []release.EnvVar{{Name: "OPEN", Open: true}, {Name: "FIXED", Value: "f"}}}
	a := describe(r, container, guest.Input{
		Env:     map[string]string{"OPEN": "o", "FIXED": "f"},
		Secrets: map[string][]byte{"TOKEN": []byte("hunter2")},
	})
	if a.Secrets["TOKEN"] != "f52fbd32" { // sha256("hunter2") begins so
		t.Errorf("secret is shown as %q", a.Secrets["TOKEN"])
	}
	if len(a.Variables) != 1 || a.Variables["OPEN"] != "o" {
		t.Errorf("variables are %v, expected the open one only", a.Variables)
	}
}

func TestMachineThatCannotBootSaysWhy(t *testing.T) {
	for rule, c := range map[string]struct {
		record   bool
		settings map[string]string
		want     string
	}{
		"no record":             {false, nil, "can't be read"},
		"settings of the wrong": {true, map[string]string{faults.FaultName: "x"}, "settings can't be read"},
		"a boot that fails":     {true, map[string]string{faults.FaultName: "boot-fails"}, "kernel panicked"},
	} {
		dir := newDir(t)
		if c.record {
			r := guestdir.Record{ID: "a-r1-1", ListenHost: "127.0.0.1", Settings: c.settings, StartTime: time.Unix(0, 0)}
			if err := dir.WriteRecord(r, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := Run(t.Context(), Options{Dir: string(dir)}); err != nil {
			t.Fatal(err)
		}
		exit, err := dir.ReadExit()
		if err != nil || exit.Reason != enclave.ReasonBootFailed || !strings.Contains(exit.Text, c.want) {
			t.Errorf("%s: ended with %+v, %v", rule, exit, err)
		}
	}
}

func TestMachineThatDiesRecordsNothing(t *testing.T) {
	dir := newDir(t)
	r := guestdir.Record{ID: "a-r1-1", ListenHost: "127.0.0.1", Settings: map[string]string{faults.FaultName: "dies-after:50ms"}}
	spec, err := enclave.EncodeSpec(&agentv1.EnclaveSpec{Platform: &agentv1.Platform{SecretsKey: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.WriteRecord(r, spec); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Options{Dir: string(dir)}); !errors.Is(err, ErrDied) {
		t.Errorf("ended with %v, expected ErrDied", err)
	}
	if _, err := dir.ReadExit(); err == nil {
		t.Error("a dead machine recorded its end")
	}
}
