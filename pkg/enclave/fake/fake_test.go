package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	attested "github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/enclave/fake"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
)

const id = "a-r1-1"

// patience bounds what tests wait for; nothing takes nearly as long.
const patience = 2 * time.Minute

// boot starts an enclave and returns it once it is so.
func boot(t *testing.T, b *fake.Backend, spec *agentv1.EnclaveSpec, is func(enclave.Observed) bool) enclave.Observed {
	t.Helper()
	if err := b.Start(t.Context(), enclave.Instance{ID: id, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	return until(t, b, is)
}

func until(t *testing.T, b *fake.Backend, is func(enclave.Observed) bool) enclave.Observed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range events {
		if o, err := b.Get(ctx, id); err == nil && is(o) {
			return o
		}
	}
	t.Fatal("the enclave did not become so")
	return enclave.Observed{}
}

func listening(o enclave.Observed) bool { return o.Endpoint != "" }
func exited(o enclave.Observed) bool    { return o.Phase == enclave.PhaseExited }

func dial(t *testing.T, o enclave.Observed) *guestclient.Client {
	t.Helper()
	c, err := guestclient.New(guestclient.Config{Endpoint: o.Endpoint, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// status polls until the boot status is so.
func status(t *testing.T, c *guestclient.Client, is func(*guestapi.BootStatus) bool) *guestapi.BootStatus {
	t.Helper()
	var after uint64
	for range 50 {
		s, err := c.Boot(t.Context(), after, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if is(s) {
			return s
		}
		after = s.Version
	}
	t.Fatal("the boot status did not become so")
	return nil
}

func ready(s *guestapi.BootStatus) bool  { return s.Ready }
func failed(s *guestapi.BootStatus) bool { _, f := s.Failed(); return f }

// verdict asks for evidence and judges it as the agent does.
func verdict(t *testing.T, c *guestclient.Client, spec *agentv1.EnclaveSpec) *attest.Verdict {
	t.Helper()
	nonce := [32]byte{1, 2, 3}
	raw, key, err := c.Attestation(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := evidence.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return attested.Verify(doc, attested.Expect{
		Nonce: nonce, TLSKeyDigest: key, ConfigDigest: attested.ShapeOf(spec).ConfigDigest,
		PlatformDigest: evidence.PlatformDigest(spec.GetPlatform()), Measurements: spec.GetExpectedMeasurements(),
		AllowSimulated: true,
	}, time.Now())
}

func TestEvidenceOfAFakeEnclaveIsAccepted(t *testing.T) {
	b := backend(t, fake.Config{})
	spec := newSpec()
	c := dial(t, boot(t, b, spec, listening))
	if err := verdict(t, c, spec).Err(); err != nil {
		t.Error(err)
	}
}

func TestWrongEvidenceIsRefusedForWhatIsWrong(t *testing.T) {
	for fault, want := range map[string]string{
		"attestation-wrong":       "measurement",
		"attestation-foreign-key": "key_binding report_data",
	} {
		t.Run(fault, func(t *testing.T) {
			b := backend(t, fake.Config{})
			spec := newSpec("CASEMATE_SIM_FAULT", fault)
			c := dial(t, boot(t, b, spec, listening))
			var names []string
			for _, f := range verdict(t, c, spec).Failed() {
				names = append(names, f.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("failed checks are %q, expected %q", got, want)
			}
			if err := b.Stop(t.Context(), id, patience); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBootAndLoadTimePass(t *testing.T) {
	b := backend(t, fake.Config{})
	begin := time.Now()
	o := boot(t, b, newSpec("CASEMATE_SIM_BOOT_TIME", "200ms", "CASEMATE_SIM_LOAD_TIME", "200ms"), listening)
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("it listened after %s, its boot takes 200ms", took)
	}
	status(t, dial(t, o), ready)
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("it was healthy after %s, boot and load take 400ms", took)
	}
}

func TestPowerOffWhileItBoots(t *testing.T) {
	b := backend(t, fake.Config{})
	boot(t, b, newSpec("CASEMATE_SIM_BOOT_TIME", "1h"), func(enclave.Observed) bool { return true })
	// The console's first line says that the guest hears the power button.
	r, err := b.Console(t.Context(), id, enclave.ConsoleOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context(), id, patience); err != nil {
		t.Fatal(err)
	}
	if o, _ := b.Get(t.Context(), id); o.Exit.Reason != enclave.ReasonPoweredOff {
		t.Errorf("ended with %+v", o.Exit)
	}
}

func TestFaultsOfPreparing(t *testing.T) {
	b := backend(t, fake.Config{Faults: map[string]map[string]string{"api": {"CASEMATE_SIM_FAULT": "prepare-fails"}}})
	if err := b.Prepare(t.Context(), newSpec()); enclave.ReasonOf(err) != enclave.ReasonPrepareFailed {
		t.Errorf("a faulty host: %v, expected %s", err, enclave.ReasonPrepareFailed)
	}
	other := newSpec("CASEMATE_SIM_FAULT", "image-missing")
	other.Container = "other"
	if err := b.Start(t.Context(), enclave.Instance{ID: id, Spec: other}); enclave.ReasonOf(err) != enclave.ReasonImageMissing {
		t.Errorf("starting what can't be prepared: %v, expected %s", err, enclave.ReasonImageMissing)
	}
	other.Config = []byte(configFile("CASEMATE_SIM_FUALT", "hangs"))
	if err := b.Prepare(t.Context(), other); enclave.ReasonOf(err) != enclave.ReasonInvalidSpec {
		t.Errorf("a misspelt fault: %v, expected %s", err, enclave.ReasonInvalidSpec)
	}
	broken := backend(t, fake.Config{GuestPath: "/nonexistent/guest"})
	if err := broken.Prepare(t.Context(), newSpec()); enclave.ReasonOf(err) != enclave.ReasonPrepareFailed {
		t.Errorf("no guest to run: %v, expected %s", err, enclave.ReasonPrepareFailed)
	}
}

func TestFaultsThatEndTheEnclave(t *testing.T) {
	for fault, reason := range map[string]string{
		"boot-fails":       enclave.ReasonBootFailed,
		"dies-after:100ms": enclave.ReasonDied,
	} {
		t.Run(fault, func(t *testing.T) {
			b := backend(t, fake.Config{})
			o := boot(t, b, newSpec("CASEMATE_SIM_FAULT", fault), exited)
			if o.Exit.Reason != reason || o.Exit.Text == "" {
				t.Errorf("ended with %+v, expected %s", o.Exit, reason)
			}
		})
	}
}

// healthyFor boots an enclave that is healthy for a while, and returns once it was.
func healthyFor(t *testing.T) *guestclient.Client {
	t.Helper()
	for while := time.Second; ; while *= 2 { // until the machine isn't held up for so long
		begin := time.Now()
		c := dial(t, boot(t, backend(t, fake.Config{}), newSpec("CASEMATE_SIM_FAULT", "unhealthy-after:"+while.String()), listening))
		s := status(t, c, func(s *guestapi.BootStatus) bool { return ready(s) || failed(s) })
		if ready(s) {
			return c
		}
		if took := time.Since(begin); took < while {
			t.Fatalf("after %s it was unhealthy, which it should be after %s: %+v", took, while, s)
		}
	}
}

func TestFaultsOfHealth(t *testing.T) {
	c := healthyFor(t)
	s := status(t, c, failed)
	if f, _ := s.Failed(); f.Name != guestapi.StageHealth || s.Ready {
		t.Errorf("after a while: %+v", s)
	}
	never := backend(t, fake.Config{})
	c = dial(t, boot(t, never, newSpec("CASEMATE_SIM_FAULT", "never-healthy"), listening))
	if f, _ := status(t, c, failed).Failed(); f.Name != guestapi.StageHealth {
		t.Errorf("never healthy: %+v", f)
	}
}

func TestHangingEnclaveAnswersNobodyAndIsKilled(t *testing.T) {
	b := backend(t, fake.Config{})
	o := boot(t, b, newSpec("CASEMATE_SIM_FAULT", "hangs"), listening)
	c, err := guestclient.New(guestclient.Config{Endpoint: o.Endpoint, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Boot(t.Context(), 0, 0); err == nil {
		t.Error("a hanging guest answered")
	}
	if err := b.Stop(t.Context(), id, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if o, _ := b.Get(t.Context(), id); o.Exit.Reason != enclave.ReasonKilled {
		t.Errorf("ended with %+v, expected %s", o.Exit, enclave.ReasonKilled)
	}
}

func TestSlowStopTakesItsTime(t *testing.T) {
	b := backend(t, fake.Config{})
	c := dial(t, boot(t, b, newSpec("CASEMATE_SIM_FAULT", "slow-stop:150ms"), listening))
	status(t, c, ready)
	c.Close()
	begin := time.Now()
	if err := b.Stop(t.Context(), id, patience); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("stopped after %s; two containers take 150ms each", took)
	}
	if o, _ := b.Get(t.Context(), id); o.Exit.Reason != enclave.ReasonPoweredOff {
		t.Errorf("ended with %+v", o.Exit)
	}
}

func TestKillNineIsToldByItsSignal(t *testing.T) {
	dir := t.TempDir()
	b := backend(t, fake.Config{Dir: dir})
	boot(t, b, newSpec(), listening)
	kill(dir)(t, id)
	if o := until(t, b, exited); !strings.Contains(o.Exit.Text, "signal 9") {
		t.Errorf("seen as %+v", o.Exit)
	}
}

func TestSecondBackendIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	b := backend(t, fake.Config{Dir: dir})
	if _, err := fake.New(fake.Config{Dir: dir, GuestPath: guestPath}); err == nil {
		t.Error("two backends use one folder")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context(), enclave.Instance{ID: id, Spec: newSpec()}); !errors.Is(err, enclave.ErrClosed) {
		t.Errorf("after Close: %v, expected ErrClosed", err)
	}
	if _, err := b.Watch(t.Context()); !errors.Is(err, enclave.ErrClosed) {
		t.Errorf("after Close: %v, expected ErrClosed", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for rule, cfg := range map[string]fake.Config{
		"no folder":                {GuestPath: guestPath},
		"no guest":                 {Dir: t.TempDir()},
		"two guests":               {Dir: t.TempDir(), GuestPath: guestPath, InProcess: inProcess},
		"a host name to listen on": {Dir: t.TempDir(), GuestPath: guestPath, ListenHost: "localhost"},
		"every address":            {Dir: t.TempDir(), GuestPath: guestPath, ListenHost: "0.0.0.0"},
		"a misspelt fault": {Dir: t.TempDir(), GuestPath: guestPath,
			Faults: map[string]map[string]string{"api": {"CASEMATE_SIM_FAULT": "x"}}},
	} {
		if b, err := fake.New(cfg); err == nil {
			t.Errorf("%s: accepted", rule)
			_ = b.Close()
		}
	}
}

func TestConsoleIsFollowedAcrossItsRotation(t *testing.T) {
	dir := t.TempDir()
	b := backend(t, fake.Config{Dir: dir})
	boot(t, b, newSpec(), listening)
	r, err := b.Console(t.Context(), id, enclave.ConsoleOptions{Follow: true, TailLines: 1})
	if err != nil {
		t.Fatal(err)
	}
	console := filepath.Join(dir, id, "console.log")
	if err := os.Rename(console, console+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, console, "after the rotation\n")
	buf, got := make([]byte, 256), ""
	for !strings.Contains(got, "after the rotation\n") {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		got += string(buf[:n])
	}
	go func() { _ = r.Close() }()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("a closed reader ends with %v", err)
	}
}

func TestGPUsAreHeldAndCounted(t *testing.T) {
	b := backend(t, fake.Config{})
	spec := newSpec()
	spec.Gpus = 2
	in := enclave.Instance{ID: id, Spec: spec, GPUs: []string{"0000:17:00.0", "0000:3d:00.0"}}
	if err := b.Start(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	o := until(t, b, listening)
	if strings.Join(o.GPUs, " ") != strings.Join(in.GPUs, " ") {
		t.Errorf("holds %v, was given %v", o.GPUs, in.GPUs)
	}
	s := status(t, dial(t, o), ready)
	if gpu, _ := s.Stage(guestapi.StageGPU); gpu.Status != guestapi.StatusOK {
		t.Errorf("gpu stage is %+v", gpu)
	}
	in.GPUs = []string{in.GPUs[1], "0000:60:00.0"}
	if err := b.Start(t.Context(), in); !errors.Is(err, enclave.ErrExists) {
		t.Errorf("the same id with other GPUs: %v, expected ErrExists", err)
	}
}

func TestWorkloadSaysWhoAnswers(t *testing.T) {
	b := backend(t, fake.Config{InProcess: inProcess})
	o := boot(t, b, newSpec(), listening)
	status(t, dial(t, o), ready)
	web := insecureClient(o.Endpoint)
	defer web.CloseIdleConnections()
	resp, err := web.Get("https://api.example/x/y")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Org, Container, Tag, Enclave, Path, Hostname string
		Revision                                     int64
		Containers                                   []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Org != "acme" || answer.Container != "api" || answer.Tag != "v1.0.0" || answer.Enclave != id ||
		answer.Path != "/x/y" || answer.Hostname != "api.example" || answer.Revision != 1 || len(answer.Containers) != 2 {
		t.Errorf("answer is %+v", answer)
	}
	if resp.Header.Get("X-Casemate-Revision") != "1" || resp.Header.Get("X-Casemate-Enclave") != id {
		t.Errorf("headers are %v", resp.Header)
	}
	for _, n := range []int{0, 1, 100_000} {
		body, err := web.Get("https://api.example/bytes?n=" + strconv.Itoa(n))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.Copy(io.Discard, body.Body); err != nil || got != int64(n) {
			t.Errorf("asked for %d bytes, got %d, %v", n, got, err)
		}
		_ = body.Body.Close()
	}
	if host, _, err := net.SplitHostPort(o.Endpoint); err != nil || host != "127.0.0.1" {
		t.Errorf("endpoint is %s", o.Endpoint)
	}
}
