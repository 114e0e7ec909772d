package attested

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// Release is what a release makes one expect of its enclaves.
type Release struct {
	// Name is for people: the tag, its repository, who signed it.
	Name string
	// ConfigDigest is SHA-256 of the config file.
	ConfigDigest [32]byte
	// Measurements are the launches of which one is expected, by platform. A
	// platform that isn't there is not expected at all.
	Measurements map[attest.Format][]judge.Measurement
	// GPUs is how many each enclave has.
	GPUs int
}

// platforms are those that a manifest can have.
var platforms = []attest.Format{attest.FormatSEVSNP, attest.FormatTDX, attest.FormatSimulated}

// FromManifest takes a release from a manifest whose signature was verified. Debug
// enclaves are not expected.
func FromManifest(m *manifest.Manifest) (*Release, error) {
	r := &Release{
		Name:         fmt.Sprintf("%s of %s, number %d, commit %s", m.Tag, m.Repository, m.Number, m.Commit),
		Measurements: map[attest.Format][]judge.Measurement{},
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(m.Config.Digest, "sha256:"))
	if err != nil || len(raw) != len(r.ConfigDigest) {
		return nil, fmt.Errorf("manifest of %s: config digest %.80q is no SHA-256", m.Tag, m.Config.Digest)
	}
	copy(r.ConfigDigest[:], raw)
	first := true
	for _, platform := range platforms {
		for _, e := range m.For(platform, "") {
			if !first && e.GPUs != r.GPUs {
				return nil, fmt.Errorf("manifest of %s: it has shapes with %d and with %d GPUs, and a release has one number", m.Tag, r.GPUs, e.GPUs)
			}
			r.GPUs, first = e.GPUs, false
			r.Measurements[platform] = append(r.Measurements[platform], measurementOf(e))
		}
	}
	if first {
		return nil, fmt.Errorf("manifest of %s: it expects no enclave but debug ones", m.Tag)
	}
	return r, nil
}

// measurementOf takes the launch from an entry that Manifest.Validate has seen.
func measurementOf(e manifest.Expected) judge.Measurement {
	if e.Platform != attest.FormatTDX {
		return judge.Measurement{Launch: judge.Digest(*e.Measurement)}
	}
	return judge.Measurement{
		Launch: judge.Digest(*e.MRTD),
		RTMR:   [3]*judge.Digest{(*judge.Digest)(e.RTMR0), (*judge.Digest)(e.RTMR1), (*judge.Digest)(e.RTMR2)},
	}
}
