package nvidia

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// Config is what a Verifier is made of. The zero Config is the usual one.
type Config struct {
	// DeviceRoots and RIMRoots are trusted in addition to NVIDIA's, for evidence
	// made in tests. A policy has to name them as well before they are accepted.
	DeviceRoots, RIMRoots []*x509.Certificate
	// Chains, RIMs and OCSPResponses bound the caches, in entries; 0 means 256, 64
	// and 1024. An entry takes about 20, 24 and 0.2 KiB.
	Chains, RIMs, OCSPResponses int
}

// Verifier verifies evidence, and keeps what it has verified of certificate
// chains, RIMs and OCSP responses, by digest. It may be used by several
// goroutines.
type Verifier struct {
	deviceRoots []*x509.Certificate
	rimRoots    []*x509.Certificate
	chains      *cache[*identity]
	rims        *cache[*RIM]
	ocsp        *cache[window]
}

// New returns a Verifier.
func New(c Config) (*Verifier, error) {
	if c.Chains < 0 || c.RIMs < 0 || c.OCSPResponses < 0 {
		return nil, errors.New("nvidia verifier: the bound of a cache is negative")
	}
	orDefault := func(n, def int) int {
		if n == 0 {
			return def
		}
		return n
	}
	return &Verifier{
		deviceRoots: append([]*x509.Certificate{nvidiaDeviceRoot}, c.DeviceRoots...),
		rimRoots:    append([]*x509.Certificate{nvidiaRIMRoot}, c.RIMRoots...),
		chains:      newCache[*identity](orDefault(c.Chains, 256)),
		rims:        newCache[*RIM](orDefault(c.RIMs, 64)),
		ocsp:        newCache[window](orDefault(c.OCSPResponses, 1024)),
	}, nil
}

// Verify judges evidence at a time. rims and ocsp may be nil, which means that
// the caller has none; nonce is the caller's own, 32 bytes, or nil if there is
// none to compare with. Unless the policy permits that they are missing, the
// evidence is then refused. Evidence is not changed and not kept.
func (v *Verifier) Verify(e Evidence, rims *RIMSet, ocsp *OCSPSet, p Policy, nonce []byte, at time.Time) *attest.Verdict {
	r := &run{
		Verifier: v, verdict: attest.NewVerdict(attest.FormatNVIDIA, at),
		evidence: &e, ids: rims, responses: ocsp, policy: &p, nonce: nonce, at: at,
	}
	if r.checkInputs() {
		r.checkDevices()
		r.checkAgreement()
		r.checkTopology()
	}
	r.listUnpinned()
	return r.verdict
}

// Answers says why a device did not answer the nonce, or nil if a chain up to one of the
// roots and its signature show that it did. Time, policy and revocation are not looked
// at: it is for those who will ask others about the evidence of a stranger.
func (v *Verifier) Answers(d Device, nonce []byte, at time.Time) error {
	report, err := ParseReport(d.Report)
	if err != nil {
		return err
	}
	if !bytes.Equal(report.Nonce, nonce) {
		return fmt.Errorf("the report is over %x, not over %x", report.Nonce, nonce)
	}
	id, err := v.deviceChain(d.Chain, at)
	if err != nil {
		return err
	}
	return report.verify(id.key)
}

// run is one verification.
type run struct {
	*Verifier
	verdict   *attest.Verdict
	evidence  *Evidence
	ids       *RIMSet
	responses *OCSPSet
	policy    *Policy
	nonce     []byte
	at        time.Time

	devices []*device // those of which report and chain are sound, in order
	open    map[string]bool
}

// device is one device under verification.
type device struct {
	*Device
	name   string // prefix of its checks and claims
	report *Report
	id     *identity
	mode   Mode
}

// unpin notes that something was not compared for want of that policy key.
func (r *run) unpin(key string) {
	if r.open == nil {
		r.open = map[string]bool{}
	}
	r.open[key] = true
}

// unpinnable are the keys that can stand in NotPinned, in their order there.
var unpinnable = []string{
	"nonce", "architectures", "driver_versions", "vbios_versions", "modes", "gpu_count", "switch_count",
	"protected_pcie", "rims", "rim_time", "ocsp", "debug",
}

func (r *run) listUnpinned() {
	for _, key := range unpinnable {
		if r.open[key] {
			r.verdict.NotPinned = append(r.verdict.NotPinned, key)
		}
	}
}

// checkInputs checks what the caller handed in, without which nothing else can
// be checked.
func (r *run) checkInputs() bool {
	gpus, switches := 0, 0
	err := r.evidence.check()
	for _, d := range r.evidence.Devices {
		if _, bad := ParseArchitecture(string(d.Arch)); bad != nil {
			err = errors.Join(err, bad)
		}
		if d.Arch.IsSwitch() {
			switches++
		} else {
			gpus++
		}
	}
	r.verdict.Claims["gpu_count"], r.verdict.Claims["switch_count"] = gpus, switches
	ok := r.verdict.Report("policy_format", r.policy.Validate(), "the policy's values are well-formed")
	ok = r.verdict.Report("evidence_devices", err, "%d GPUs, %d NVSwitches", gpus, switches) && ok
	ok = r.checkCount("gpu_count", gpus, r.policy.GPUCount) && ok
	ok = r.checkCount("switch_count", switches, r.policy.SwitchCount) && ok
	return r.checkCallersNonce() && ok
}

// checkCallersNonce reports only failures: [run.checkNonce] compares.
func (r *run) checkCallersNonce() bool {
	switch {
	case r.nonce == nil && r.policy.PermitUnpinned:
		r.unpin("nonce")
	case r.nonce == nil:
		r.verdict.Fail("nonce_given", "the caller has no nonce to compare with; any report could be a replay")
		return false
	case len(r.nonce) != nonceSize:
		r.verdict.Fail("nonce_given", "the caller's nonce has %d bytes, want %d", len(r.nonce), nonceSize)
		return false
	}
	return true
}

func (r *run) checkCount(key string, got int, want *int) bool {
	if want == nil {
		r.unpin(key)
		return true
	}
	var err error
	if got != *want {
		err = fmt.Errorf("%d, the policy wants %d", got, *want)
	}
	return r.verdict.Report(key, err, "%d", got)
}
