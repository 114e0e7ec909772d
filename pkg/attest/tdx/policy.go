package tdx

import (
	"errors"
	"fmt"
	"time"

	"go.yaml.in/yaml/v4"
)

// TCBMode says whether a platform's TCB is judged.
type TCBMode string

// Required, the default, needs collateral and judges the TCB. ChainOnly checks
// signatures and chains without collateral: an outdated or revoked platform
// passes, and the verdict carries the mark [MarkTCBNotChecked].
const (
	Required  TCBMode = "required"
	ChainOnly TCBMode = "chain_only"
)

// Absent says what a key that a policy leaves out means.
type Absent int

// AbsentRefused, the default, refuses evidence when the policy leaves out a
// measurement (mr_td, rtmr0 to rtmr3), report_data, a config binding
// (mr_config_id, mr_owner, mr_owner_config), the platforms (ppid) or, under
// chain_only, the floor minimum_tee_tcb_svn: whoever means any value says "any".
// AbsentListed doesn't compare what was left out and lists it in the verdict.
const (
	AbsentRefused Absent = iota
	AbsentListed
)

// Policy says which quotes are accepted. The zero value accepts none. Keys that
// are left out have these defaults: tcb required, only the status UpToDate,
// Intel's QE vendor, a zero mr_signer_seam, zero seam_attributes, no service TD;
// td_attributes without DEBUG, without migration and without reserved bits (under
// AbsentRefused nothing but SEPT_VE_DISABLE); xfam with bits 0 and 1 set and
// fixed-0 bits clear.
type Policy struct {
	MRTD          Pin `yaml:"mr_td"`           // 48 bytes
	RTMR0         Pin `yaml:"rtmr0"`           // 48 bytes, as the following three
	RTMR1         Pin `yaml:"rtmr1"`           //
	RTMR2         Pin `yaml:"rtmr2"`           //
	RTMR3         Pin `yaml:"rtmr3"`           //
	MRConfigID    Pin `yaml:"mr_config_id"`    // 48 bytes
	MROwner       Pin `yaml:"mr_owner"`        // 48 bytes
	MROwnerConfig Pin `yaml:"mr_owner_config"` // 48 bytes
	ReportData    Pin `yaml:"report_data"`     // 64 bytes

	MRSEAM         Pin `yaml:"mr_seam"`         // 48 bytes, the TDX module
	MRSignerSEAM   Pin `yaml:"mr_signer_seam"`  // 48 bytes
	SEAMAttributes Pin `yaml:"seam_attributes"` // 8 bytes, as in the quote
	TDAttributes   Pin `yaml:"td_attributes"`   // 8 bytes, as in the quote
	XFAM           Pin `yaml:"xfam"`            // 8 bytes, as in the quote
	MRServiceTD    Pin `yaml:"mr_service_td"`   // 48 bytes, TD reports 1.5 only

	FMSPC      Pin `yaml:"fmspc"`        // 6 bytes
	PPID       Pin `yaml:"ppid"`         // 16 bytes, the platforms allowed
	QEVendorID Pin `yaml:"qe_vendor_id"` // 16 bytes

	// MinimumTEETCBSVN is a floor for each of the 16 elements of TEE_TCB_SVN.
	MinimumTEETCBSVN Pin `yaml:"minimum_tee_tcb_svn"`
	// MinimumTCBEvaluationDataNumber refuses collateral of an older TCB recovery.
	MinimumTCBEvaluationDataNumber uint32 `yaml:"minimum_tcb_evaluation_data_number"`
	// AcceptedTCBStatuses are the statuses accepted; empty means only UpToDate.
	AcceptedTCBStatuses []Status `yaml:"accepted_tcb_statuses"`
	// AllowStaleCollateral is how long after its end collateral is still used, so
	// that an outage of Intel's service doesn't stop a fleet. The verdict says so.
	AllowStaleCollateral time.Duration `yaml:"allow_stale_collateral"`
	// AllowDebug accepts debug TDs, whose memory the host can read. The verdict
	// carries the mark [MarkDebug].
	AllowDebug bool    `yaml:"allow_debug"`
	TCB        TCBMode `yaml:"tcb"`

	// Absent says what keys that were left out mean.
	Absent Absent `yaml:"-"`
}

// maxPolicySize bounds a policy document; maxStale the staleness it may allow.
const (
	maxPolicySize = 256 << 10
	maxStale      = 90 * 24 * time.Hour
)

// ParsePolicy reads what stands under the key tdx of a policy file: unknown and
// doubled keys, aliases, tags, merge keys, empty values, values of a wrong size and a second
// document are errors. The result refuses what was left out; see [Absent].
func ParsePolicy(doc []byte) (Policy, error) {
	var p Policy
	if len(doc) > maxPolicySize {
		return p, fmt.Errorf("read tdx policy: %d bytes, at most %d are read", len(doc), maxPolicySize)
	}
	if err := yaml.Load(doc, &p, yaml.WithUniqueKeys()); err != nil {
		return Policy{}, fmt.Errorf("read tdx policy: %w", err)
	}
	return p, nil
}

// UnmarshalYAML reads a policy as strictly within a larger file as [ParsePolicy]
// does by itself; it leaves the Absent rule as it was.
func (p *Policy) UnmarshalYAML(node *yaml.Node) error {
	if err := checkNode(node); err != nil {
		return err
	}
	type plain Policy
	read := plain{Absent: p.Absent}
	if err := node.Load(&read, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return err
	}
	if err := (*Policy)(&read).Validate(); err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*p = Policy(read)
	return nil
}

// checkNode refuses what a reader of the file could overlook: aliases, anchors, tags,
// merge keys, and keys without a value, which would otherwise be taken for left out.
func checkNode(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fmt.Errorf("line %d: anchors and aliases are not allowed", n.Line)
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return fmt.Errorf("line %d: a key has no value; leave it out, or say any", n.Line)
	}
	if n.Style&yaml.TaggedStyle != 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge" {
		return fmt.Errorf("line %d: tags and merge keys are not allowed", n.Line)
	}
	for _, c := range n.Content {
		if err := checkNode(c); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks sizes, statuses and bounds.
func (p *Policy) Validate() error {
	for _, f := range policyPins {
		if err := f.pin(p).validate(f.name, f.size); err != nil {
			return err
		}
	}
	if len(p.MinimumTEETCBSVN.Values) > 1 {
		return errors.New("minimum_tee_tcb_svn is one floor, not a list")
	}
	for _, s := range p.AcceptedTCBStatuses {
		if err := s.checkAcceptable(); err != nil {
			return fmt.Errorf("accepted_tcb_statuses: %w", err)
		}
	}
	if p.AcceptedTCBStatuses != nil && len(p.AcceptedTCBStatuses) == 0 {
		return errors.New("accepted_tcb_statuses is an empty list, which accepts nothing; leave it out for UpToDate alone")
	}
	if p.TCB != "" && p.TCB != Required && p.TCB != ChainOnly {
		return fmt.Errorf("tcb is %q, expected %q or %q", p.TCB, Required, ChainOnly)
	}
	if p.AllowStaleCollateral < 0 || p.AllowStaleCollateral > maxStale {
		return fmt.Errorf("allow_stale_collateral is %s, expected 0 to %s", p.AllowStaleCollateral, maxStale)
	}
	return nil
}
