package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// MaxAllowStale bounds Collateral.AllowStale: three times the 30 days for which
// Intel signs its collateral.
const MaxAllowStale = 90 * 24 * time.Hour

// ErrNoSection says that a policy has no section for a kind of evidence, and thus
// accepts none of it.
var ErrNoSection = errors.New("the policy has no section for this evidence")

// Policy says which evidence is accepted. The zero Policy accepts none.
type Policy struct {
	// SEVSNP judges AMD's reports; nil accepts none.
	SEVSNP *sevsnp.Policy `yaml:"sev_snp,omitempty"`
	// TDX judges Intel's quotes; nil accepts none.
	TDX *tdx.Policy `yaml:"tdx,omitempty"`
	// NVIDIA judges the evidence of GPUs and switches; nil accepts none.
	NVIDIA *nvidia.Policy `yaml:"nvidia,omitempty"`
	// Simulated names what is accepted although no vendor stands behind it; nil
	// accepts none.
	Simulated *Simulated `yaml:"simulated,omitempty"`
	// Collateral is about what vendors publish beside the evidence.
	Collateral Collateral `yaml:"collateral,omitempty"`
}

// Collateral says how old what vendors publish may be.
type Collateral struct {
	// AllowStale is how long after its end collateral is still used, so that a
	// vendor's outage doesn't stop an enclave that ran yesterday: 0 to
	// MaxAllowStale. It stands for sev_snp.allow_stale_crl, tdx.allow_stale_collateral
	// and nvidia.ocsp_grace where those are left out. Verdicts say when it was needed.
	AllowStale time.Duration `yaml:"allow_stale,omitempty"`
}

// Validate checks every section that is there.
func (p *Policy) Validate() error {
	if p.SEVSNP != nil {
		if err := p.SEVSNP.Validate(); err != nil {
			return fmt.Errorf("sev_snp: %w", err)
		}
	}
	if p.TDX != nil {
		if err := p.TDX.Validate(); err != nil {
			return fmt.Errorf("tdx: %w", err)
		}
	}
	if p.NVIDIA != nil {
		if err := p.NVIDIA.Validate(); err != nil {
			return fmt.Errorf("nvidia: %w", err)
		}
	}
	if p.Simulated != nil {
		if err := p.Simulated.validate(); err != nil {
			return fmt.Errorf("simulated: %w", err)
		}
	}
	if s := p.Collateral.AllowStale; s < 0 || s > MaxAllowStale {
		return fmt.Errorf("collateral: allow_stale is %s, want 0 to %s", s, MaxAllowStale)
	}
	return nil
}

// PermitUnpinned lets every section accept evidence although it leaves values
// unpinned; verdicts list them. No file can say it: it is for commands that look
// at evidence and show what was not compared.
func (p *Policy) PermitUnpinned() {
	if p.SEVSNP != nil {
		p.SEVSNP.PermitUnpinned = true
	}
	if p.TDX != nil {
		p.TDX.Absent = tdx.AbsentListed
	}
	if p.NVIDIA != nil {
		p.NVIDIA.PermitUnpinned = true
	}
}

// Look returns the policy of a command that only looks at evidence of any kind:
// signatures, chains, revocation, debug and TCB are judged, nothing is pinned.
func Look() *Policy {
	p := &Policy{SEVSNP: &sevsnp.Policy{}, TDX: &tdx.Policy{}, NVIDIA: &nvidia.Policy{}}
	p.PermitUnpinned()
	return p
}

// ForSEVSNP returns the policy for AMD's reports with the revocation list's age filled
// in, or an error that wraps ErrNoSection.
func (p *Policy) ForSEVSNP() (*sevsnp.Policy, error) {
	if p == nil || p.SEVSNP == nil {
		return nil, noSection("sev_snp")
	}
	out := *p.SEVSNP
	if out.AllowStaleCRL == 0 {
		out.AllowStaleCRL = p.Collateral.AllowStale
	}
	return &out, nil
}

// ForTDX returns the policy for Intel's quotes with the collateral's age filled
// in, or an error that wraps ErrNoSection.
func (p *Policy) ForTDX() (tdx.Policy, error) {
	if p == nil || p.TDX == nil {
		return tdx.Policy{}, noSection("tdx")
	}
	out := *p.TDX
	if out.AllowStaleCollateral == 0 {
		out.AllowStaleCollateral = p.Collateral.AllowStale
	}
	return out, nil
}

// ForNVIDIA returns the policy for GPUs and switches with the age of OCSP
// responses filled in, or an error that wraps ErrNoSection.
func (p *Policy) ForNVIDIA() (nvidia.Policy, error) {
	if p == nil || p.NVIDIA == nil {
		return nvidia.Policy{}, noSection("nvidia")
	}
	out := *p.NVIDIA
	if out.OCSPGrace == 0 {
		out.OCSPGrace = p.Collateral.AllowStale
	}
	return out, nil
}

// Sections lists the formats of which the policy can accept any.
func (p *Policy) Sections() []attest.Format {
	var out []attest.Format
	if p.SEVSNP != nil {
		out = append(out, attest.FormatSEVSNP)
	}
	if p.TDX != nil {
		out = append(out, attest.FormatTDX)
	}
	if p.NVIDIA != nil {
		out = append(out, attest.FormatNVIDIA)
	}
	if p.Simulated != nil && p.Simulated.Unsigned {
		out = append(out, attest.FormatSimulated)
	}
	return out
}

func noSection(key string) error {
	return fmt.Errorf("%w: add the key %s: to it, with what is wanted beneath", ErrNoSection, key)
}
