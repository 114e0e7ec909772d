package guest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

func TestBootGoesThroughEveryStage(t *testing.T) {
	r := start(t, configFile("", ""), platform(), nil)
	status := r.untilReady()
	want := map[string]guestapi.Status{guestapi.StageGPU: guestapi.StatusSkipped, guestapi.StageSecrets: guestapi.StatusSkipped}
	for i, name := range guestapi.Stages() {
		expected := guestapi.StatusOK
		if s, given := want[name]; given {
			expected = s
		}
		if got := status.Stages[i]; got.Name != name || got.Status != expected {
			t.Errorf("stage %d is %+v, expected %s %s", i, got, name, expected)
		}
	}
}

func TestBootStopsAtWhatIsWrong(t *testing.T) {
	open := configFile("env:\n  - REGION", "")
	for rule, c := range map[string]struct {
		file   string
		p      *agentv1.Platform
		change func(*guest.Config, *machine)
		stage  string
		reason string
	}{
		"a config that is not the measured one": {configFile("", ""), platform(),
			func(cfg *guest.Config, _ *machine) { cfg.ConfigDigest[0] ^= 1 }, "config", "changed after the release"},
		"a config that is no config": {"containers: 7", platform(), nil, "config", "refused"},
		"a variable nobody declared": {open, &agentv1.Platform{SecretsKey: platform().GetSecretsKey(),
			Variables: map[string]string{"OTHER": "x"}}, nil, "config", `variable "OTHER"`},
		"a secret nobody declared": {configFile("", ""), platform("TOKEN"), nil, "config", `secret "TOKEN" is promised`},
		"a declared secret that nobody delivers": {configFile("secrets: [TOKEN]", ""), platform(), nil,
			"config", "does not deliver it"},
		"a platform part that the launch was not given": {configFile("", ""), platform(),
			func(_ *guest.Config, m *machine) { m.hostData[0] ^= 1 }, "evidence", "the host changed it"},
		"fewer GPUs than it was launched with": {strings.Replace(configFile("runtime: nvidia\ngpus: all", ""), "memory:", "gpus: 2\nmemory:", 1),
			platform(), func(cfg *guest.Config, m *machine) { cfg.GPUs, m.gpus = 2, 1 }, "gpu", "1 GPUs are here"},
		"images that can't be pulled": {configFile("", ""), platform(),
			func(_ *guest.Config, m *machine) { m.pullErr = errors.New("no such image") }, "images", "no such image"},
		"a container that does not start": {configFile("", ""), platform(),
			func(_ *guest.Config, m *machine) { m.startErr = errors.New("no memory") }, "containers", "no memory"},
	} {
		t.Run(rule, func(t *testing.T) {
			r := start(t, c.file, c.p, c.change)
			failed := r.untilFailed()
			if failed.Name != c.stage || !strings.Contains(failed.Reason, c.reason) {
				t.Errorf("failed at %+v, expected stage %s saying %q", failed, c.stage, c.reason)
			}
			if err := r.stop(); err != nil {
				t.Errorf("power off: %v", err)
			}
		})
	}
}

func TestContainersGetWhatWasMeasuredAndDeclared(t *testing.T) {
	p := platform()
	p.Variables = map[string]string{"REGION": "eu"}
	r := start(t, configFile("env:\n  - LEVEL: info\n  - REGION\n  - UNSET", ""), p, nil)
	r.untilReady()
	env := r.inputs["app"].Env
	if _, set := env["UNSET"]; set || env["LEVEL"] != "info" || env["REGION"] != "eu" {
		t.Errorf("environment is %v, expected LEVEL=info, REGION=eu and no UNSET", env)
	}
}

func TestContainersStartInOrderAndStopInReverse(t *testing.T) {
	file := strings.Replace(configFile("", ""), "shim:", "  - name: db\n    image: ghcr.io/o/db"+digest+"\nshim:", 1)
	r := start(t, file, platform(), nil)
	r.untilReady()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := r.events(); got != "start app, start db, stop db, stop app" {
		t.Errorf("containers: %s", got)
	}
}

const healthcheck = "healthcheck:\n  test: [CMD, check]\n  interval: 20ms\n  timeout: 1s\n  retries: 2"

func TestHealthCheckGatesReadiness(t *testing.T) {
	r := start(t, configFile(healthcheck, ""), platform(), func(_ *guest.Config, m *machine) {
		m.probeErr = errors.New("model is loading")
	})
	failed := r.untilFailed()
	if failed.Name != guestapi.StageHealth || !strings.Contains(failed.Reason, "container app is unhealthy: model is loading") {
		t.Errorf("failed at %+v", failed)
	}
	if code, body := r.get("/"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"stage":"health"`) {
		t.Errorf("before it is healthy: %d %s, expected 503 with the stage", code, body)
	}
	r.setHealth(nil)
	r.untilReady()
	if code, _ := r.get("/"); code != http.StatusNotFound {
		t.Errorf("once healthy: %d, expected the upstream's 404", code)
	}
	r.setHealth(errors.New("gone"))
	r.until("unhealthy again", func(b *guestapi.BootStatus) bool { return !b.Ready })
	r.setHealth(nil)
	r.untilReady()
}

func TestContainerThatEndsMakesTheEnclaveUnhealthy(t *testing.T) {
	r := start(t, configFile("", ""), platform(), nil)
	r.untilReady()
	r.mu.Lock()
	w := r.running[0]
	r.mu.Unlock()
	w.err = errors.New("exit code 137")
	close(w.done)
	if failed := r.untilFailed(); !strings.Contains(failed.Reason, "exit code 137") {
		t.Errorf("failed at %+v, expected the exit code", failed)
	}
}

func TestLongPollAnswersAtTheChangeAndNotBefore(t *testing.T) {
	r := start(t, configFile("secrets: [TOKEN]", ""), platform("TOKEN"), nil)
	r.untilRunning(guestapi.StageSecrets)
	now, err := r.client.Boot(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	same, err := r.client.Boot(t.Context(), now.Version, time.Second)
	if err != nil || same.Version != now.Version || time.Since(begin) < 900*time.Millisecond {
		t.Errorf("without a change: version %d after %s, %v; expected %d after 1s", same.Version, time.Since(begin), err, now.Version)
	}
	answered := make(chan *guestapi.BootStatus, 1)
	go func() {
		b, _ := r.client.Boot(t.Context(), now.Version, guestapi.MaxWait)
		answered <- b
	}()
	r.deliver("TOKEN", "x")
	if b := <-answered; b == nil || b.Version <= now.Version {
		t.Errorf("after a change: %+v, expected a greater version than %d", b, now.Version)
	}
}

func TestLongPollEndsAtPowerOff(t *testing.T) {
	r := start(t, configFile("", ""), platform(), nil)
	now := r.untilReady()
	begin := time.Now()
	go func() { _ = r.stop() }()
	b, err := r.client.Boot(t.Context(), now.Version, guestapi.MaxWait)
	if err == nil && !b.Stopping {
		t.Errorf("status at power-off is %+v", b)
	}
	if err := r.stop(); err != nil || time.Since(begin) >= guestapi.MaxWait {
		t.Errorf("powered off after %s: %v; a long poll held it up", time.Since(begin), err)
	}
}

func TestEvidenceBindsThisBootsKey(t *testing.T) {
	p := platform()
	p.Debug = true
	r := start(t, configFile("", ""), p, nil)
	nonce := [32]byte{7}
	raw, key, err := r.client.Attestation(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := evidence.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if key != r.guest.KeyDigest() || doc.TLSKeyDigest != key || doc.Nonce != nonce {
		t.Errorf("document names key %x and nonce %x; the connection has key %x", doc.TLSKeyDigest, doc.Nonce, key)
	}
	if want := doc.ReportData(); string(doc.Report) != string(want[:]) {
		t.Errorf("the report is over %x, expected %x", doc.Report, want)
	}
	if strings.Join(doc.Insecure, " ") != "simulated debug" {
		t.Errorf("marks are %v", doc.Insecure)
	}
	for _, query := range []string{"", "?nonce=00", "?nonce=" + strings.Repeat("AB", 32), "?nonce=x&nonce=y"} {
		if code, _ := r.get(guestapi.AttestationPath + query); code != http.StatusBadRequest {
			t.Errorf("nonce %q: status %d, expected 400", query, code)
		}
	}
}

func TestPowerCutEndsEverythingAtOnce(t *testing.T) {
	entered := make(chan struct{})
	r := start(t, configFile("", ""), platform(), func(cfg *guest.Config, m *machine) {
		cfg.Grace = time.Hour
		m.handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			close(entered)
			<-req.Context().Done()
		})
	})
	r.untilReady()
	answer := make(chan error, 1)
	go func() {
		resp, err := r.web.Get("https://app.example/")
		if err == nil {
			_ = resp.Body.Close()
		}
		answer <- err
	}()
	select {
	case <-entered:
	case err := <-answer:
		t.Fatalf("the request ended before it came through: %v", err)
	}
	r.cut()
	select {
	case err := <-r.result:
		r.result <- err
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v, expected the end of its context", err)
		}
	case <-time.After(patience):
		t.Error("the guest outlives a power cut")
	}
}

func TestNewRefusesMissingParts(t *testing.T) {
	for name, change := range map[string]func(*guest.Config){
		"listener": func(c *guest.Config) { c.Listener = nil },
		"runtime":  func(c *guest.Config) { c.Runtime = nil },
		"platform": func(c *guest.Config) { c.Platform = nil },
		"key":      func(c *guest.Config) { c.Platform = &agentv1.Platform{} },
	} {
		r := start(t, configFile("", ""), platform(), nil)
		m := r.machine
		cfg := guest.Config{Listener: dummy{}, Evidence: m, Runtime: m, GPUCount: m.count, Platform: platform()}
		change(&cfg)
		if _, err := guest.New(cfg); err == nil {
			t.Errorf("a guest without %s was made", name)
		}
	}
}
