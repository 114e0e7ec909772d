// Package systemd checks the units in this folder with systemd's own tools.
package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// daemons are the units, with the greatest exposure that systemd-analyze may
// find in each: 0.0 is a service that can do nothing, 10.0 one that may do
// everything.
var daemons = map[string]string{"agent": "2.1", "coordinator": "1.5", "gateway": "1.6"}

// analyze runs systemd-analyze, which must be there: a check that is left out
// silently is none.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("systemd-analyze is missing: install systemd (apt-get install systemd)")
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

// staged writes the unit into a folder of its own, with its program replaced by
// one that exists here.
func staged(t *testing.T, daemon string, change func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "casemate-"+daemon)
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(read(t, daemon), "=/usr/bin/casemate-"+daemon, "="+program)
	if change != nil {
		text = change(text)
	}
	unit := filepath.Join(dir, "casemate-"+daemon+".service")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return unit
}

func read(t *testing.T, daemon string) string {
	t.Helper()
	text, err := os.ReadFile("casemate-" + daemon + ".service")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSystemdFindsNothingWrong(t *testing.T) {
	for daemon := range daemons {
		t.Run(daemon, func(t *testing.T) {
			if out, err := analyze(t, "verify", staged(t, daemon, nil)); err != nil || out != "" {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

func TestTheCheckFindsAMisspeltKey(t *testing.T) {
	unit := staged(t, "agent", func(text string) string { return strings.Replace(text, "KillMode=", "KilMode=", 1) })
	if out, _ := analyze(t, "verify", unit); !strings.Contains(out, "KilMode") {
		t.Errorf("systemd-analyze verify does not name the misspelt key:\n%s", out)
	}
}

func TestExposureStaysLow(t *testing.T) {
	for daemon, most := range daemons {
		t.Run(daemon, func(t *testing.T) {
			// The threshold is ten times the exposure.
			threshold := "--threshold=" + strings.ReplaceAll(most, ".", "")
			if out, err := analyze(t, "security", "--offline=yes", "--no-pager", threshold, staged(t, daemon, nil)); err != nil {
				t.Errorf("more exposed than %s: %v\n%s", most, err, out)
			}
		})
	}
}

// Restarting the agent must stop no enclave, whatever its backend: see
// docs/operations.md.
func TestTheAgentsUnitSparesEnclaves(t *testing.T) {
	text := read(t, "agent")
	for _, line := range []string{"KillMode=process", "OOMPolicy=continue", "Restart=always"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the agent's unit lacks %s", line)
		}
	}
	if strings.Contains(text, "\nPrivateTmp=") {
		t.Error("PrivateTmp empties /tmp under enclaves that outlive the agent")
	}
}

// The daemons end on SIGHUP, as any program does that has no use for it.
func TestNoUnitReloads(t *testing.T) {
	for daemon := range daemons {
		if strings.Contains(read(t, daemon), "\nExecReload=") {
			t.Errorf("casemate-%s has ExecReload, and the daemon reads its configuration at its start only", daemon)
		}
	}
}

func TestNeedrestartLeavesTheDaemonsAlone(t *testing.T) {
	program := `our %nrconf; do "./needrestart-casemate.conf"; die $@ if $@; for my $unit (@ARGV) {
		my $asked = 1; for (keys %{$nrconf{override_rc}}) { $asked = $nrconf{override_rc}{$_} if $unit =~ /$_/ } print "$unit=$asked\n" }`
	out, err := exec.CommandContext(t.Context(), "perl", "-e", program, "--",
		"casemate-agent.service", "casemate-coordinator.service", "casemate-gateway.service", "casemate-agent.service.d", "ssh.service").CombinedOutput()
	want := "casemate-agent.service=0\ncasemate-coordinator.service=0\ncasemate-gateway.service=0\ncasemate-agent.service.d=1\nssh.service=1\n"
	if err != nil || !bytes.Equal(out, []byte(want)) {
		t.Errorf("needrestart would decide %v\n%s, expected\n%s", err, out, want)
	}
}
