package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

func TestTheEngineGetsItsDefaultsFromAFileThatSaysNothing(t *testing.T) {
	var c Config
	c.SetDefaults()
	if got, want := c.engineLimits(), engine.DefaultLimits(); got != want {
		t.Errorf("limits are %+v, want %+v", got, want)
	}
}

func TestTheEngineIsToldHowToStartAgain(t *testing.T) {
	c, err := parse("restarts: {attempts: 2, pause: 1s, max_pause: 3s, steady: 1m}")
	if err != nil {
		t.Fatal(err)
	}
	want := engine.DefaultLimits()
	want.Restarts, want.RestartPause, want.RestartMaxPause, want.Steady = 2, time.Second, 3*time.Second, time.Minute
	if got := c.engineLimits(); got != want {
		t.Errorf("limits are %+v, want %+v", got, want)
	}
}

func TestRestartsThatMakeNoSenseAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"restarts: {attempts: -1}":              "restarts.attempts",
		"restarts: {attempts: 1001}":            "restarts.attempts",
		"restarts: {pause: 0s}":                 "restarts.pause",
		"restarts: {steady: -1s}":               "restarts.steady",
		"restarts: {pause: 10s, max_pause: 9s}": "restarts.max_pause",
		"restarts: {atempts: 3}":                "atempts",
		"restarts: {attempts: 3, attempts: 4}":  "attempts",
		"restarts: {pause: soon}":               "time.Duration",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a refusal that names %s", text, err, want)
		}
	}
}

func TestMetricsAreShownWhereTheFileSaysAndNowhereElse(t *testing.T) {
	if c, err := parse(""); err != nil || c.Admin != "" {
		t.Errorf("a file that names no address gives %q, %v", c.Admin, err)
	}
	if c, err := parse("admin: 127.0.0.1:9444"); err != nil || c.Admin != "127.0.0.1:9444" {
		t.Errorf("the address is %q, %v", c.Admin, err)
	}
	for _, text := range []string{"admin: 127.0.0.1", "admin: '127.0.0.1:'"} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), "admin") {
			t.Errorf("%s: %v, want a refusal that names admin", text, err)
		}
	}
}

func parse(text string) (Config, error) {
	return yamlconfig.Parse[Config](yamlconfig.Source{Name: "coordinator.yaml", Text: []byte("base_domain: example.test\n" + text + "\n")})
}
