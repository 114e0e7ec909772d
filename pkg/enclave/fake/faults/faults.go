// Package faults says how a fake enclave takes its time and fails: the settings
// that stand in the measured environment of a config's containers, so that a
// release can be broken, or in a host's configuration, so that a host can be.
// They mean nothing outside the fake backend.
package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/release"
)

// The settings' names.
const (
	// BootTimeName is how long the machine takes before its guest listens: 300ms.
	BootTimeName = "CASEMATE_SIM_BOOT_TIME"
	// LoadTimeName is how long the containers take until they are healthy.
	LoadTimeName = "CASEMATE_SIM_LOAD_TIME"
	// FaultName is one of the kinds, with a time after a colon where it has one.
	FaultName = "CASEMATE_SIM_FAULT"

	prefix = "CASEMATE_SIM_"
)

// Kind is what goes wrong.
type Kind string

// The kinds.
const (
	// None: nothing goes wrong.
	None Kind = ""
	// ImageMissing: an image can't be found when the enclave is prepared.
	ImageMissing Kind = "image-missing"
	// PrepareFails: something else fails then.
	PrepareFails Kind = "prepare-fails"
	// BootFails: the machine ends before its guest listens.
	BootFails Kind = "boot-fails"
	// AttestationWrong: the report has another measurement.
	AttestationWrong Kind = "attestation-wrong"
	// AttestationForeignKey: somebody on the host ends TLS with a key of their own,
	// and keeps what they read (guestdir.WireFolder).
	AttestationForeignKey Kind = "attestation-foreign-key"
	// Wiretapped: somebody on the host keeps every byte that goes to the guest or
	// comes from it (guestdir.WireFolder). Nothing else goes wrong.
	Wiretapped Kind = "wiretapped"
	// NeverHealthy: the health checks never pass.
	NeverHealthy Kind = "never-healthy"
	// DiesAfter: the machine dies this long after its guest began to listen.
	DiesAfter Kind = "dies-after"
	// Hangs: the machine accepts connections, never answers, and ignores the
	// power button.
	Hangs Kind = "hangs"
	// UnhealthyAfter: the health checks fail from this long after they could
	// first pass.
	UnhealthyAfter Kind = "unhealthy-after"
	// StopHangs: the power button does nothing.
	StopHangs Kind = "stop-hangs"
	// SlowStop: each container takes this long to stop.
	SlowStop Kind = "slow-stop"
)

// timed tells of each kind whether it has a time.
var timed = map[Kind]bool{
	None: false, ImageMissing: false, PrepareFails: false, BootFails: false, AttestationWrong: false,
	AttestationForeignKey: false, Wiretapped: false, NeverHealthy: false, DiesAfter: true, Hangs: false,
	UnhealthyAfter: true, StopHangs: false, SlowStop: true,
}

// maxTime bounds every time.
const maxTime = 24 * time.Hour

// Faults is how one fake enclave behaves. The zero value works at once and well.
type Faults struct {
	// BootTime and LoadTime are waited for; see the settings.
	BootTime, LoadTime time.Duration
	// Kind is what goes wrong, After the time that belongs to it.
	Kind  Kind
	After time.Duration
}

// Parse reads settings. A name of this prefix that is not known is refused, so
// that a misspelt fault is not a test that passes.
func Parse(settings map[string]string) (Faults, error) {
	var f Faults
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		var err error
		switch value := settings[name]; name {
		case BootTimeName:
			f.BootTime, err = parseTime(value)
		case LoadTimeName:
			f.LoadTime, err = parseTime(value)
		case FaultName:
			f.Kind, f.After, err = parseKind(value)
		default:
			err = fmt.Errorf("no such setting; there are %s, %s and %s", BootTimeName, LoadTimeName, FaultName)
		}
		if err != nil {
			return Faults{}, fmt.Errorf("%.64s: %w", name, err)
		}
	}
	return f, nil
}

func parseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxTime {
		return 0, fmt.Errorf("%.64q is no time between 0 and 24h, such as 300ms", s)
	}
	return d, nil
}

func parseKind(s string) (Kind, time.Duration, error) {
	name, after, hasTime := strings.Cut(s, ":")
	kind := Kind(name)
	needsTime, known := timed[kind]
	switch {
	case !known:
		return None, 0, fmt.Errorf("fault %.64q is not known", name)
	case needsTime != hasTime && needsTime:
		return None, 0, fmt.Errorf("fault %s needs a time, such as %s:5s", kind, kind)
	case needsTime != hasTime:
		return None, 0, fmt.Errorf("fault %s has no time", kind)
	case !needsTime:
		return kind, 0, nil
	}
	d, err := parseTime(after)
	return kind, d, err
}

// Settings gathers the settings from the measured environment of a config's
// containers; of two containers that give one, the first counts. An open
// variable never counts: it is not part of the release.
func Settings(cfg *release.Config) map[string]string {
	out := map[string]string{}
	for _, c := range cfg.Containers {
		for _, v := range c.Env {
			if _, given := out[v.Name]; !given && !v.Open && strings.HasPrefix(v.Name, prefix) {
				out[v.Name] = v.Value
			}
		}
	}
	return out
}

// Of returns how an enclave with this config behaves on a host with these
// settings, which come before the config's.
func Of(cfg *release.Config, host map[string]string) (Faults, error) {
	settings := Settings(cfg)
	maps.Copy(settings, host)
	return Parse(settings)
}
