package sevsnp

import (
	"fmt"
	"time"
)

// MaxStaleCRL bounds Policy.AllowStaleCRL.
const MaxStaleCRL = 90 * 24 * time.Hour

// Policy says what a report must contain to be accepted. It is what stands under the
// key "sev_snp" of a policy file. The zero Policy accepts nothing: measurement, host
// data, report data, the floor of the TCB and the platforms must be pinned, or said to
// be "any", a revocation list must be there, or said not to be required, and what a
// guest may be allowed (debugging, a migration agent, SMT) must be allowed here.
type Policy struct {
	// Measurement holds the accepted launch digests, 48 bytes each.
	Measurement Pin `yaml:"measurement,omitempty"`
	// HostData is the 32 bytes that the host set at launch.
	HostData Pin `yaml:"host_data,omitempty"`
	// ReportData is the 64 bytes that the guest asked to be signed.
	ReportData Pin `yaml:"report_data,omitempty"`
	// IDKeyDigest is the SHA-384 of the key that signed the id block, 48 bytes.
	IDKeyDigest Pin `yaml:"id_key_digest,omitempty"`
	// AuthorKeyDigest is the SHA-384 of the author key, 48 bytes.
	AuthorKeyDigest Pin `yaml:"author_key_digest,omitempty"`
	// FamilyID and ImageID are from the id block, 16 bytes each.
	FamilyID Pin `yaml:"family_id,omitempty"`
	ImageID  Pin `yaml:"image_id,omitempty"`
	// ChipIDs is the allow list of chips: 64 bytes, or 8 for Turin. It must be said of
	// reports signed by a VCEK.
	ChipIDs Pin `yaml:"chip_ids,omitempty"`
	// CSPIDs is the allow list of cloud providers of VLEKs; "any" in it accepts each.
	// A VCEK has none. Of reports signed by a VLEK, it or ChipIDs must be said.
	CSPIDs []string `yaml:"csp_ids,omitempty"`

	// MinimumTCB is the floor of REPORTED_TCB, which the signing key is bound to. It
	// must be said; the zero TCB, "any" in YAML, accepts every level. In YAML a floor
	// names one level at least; those left out are 0.
	MinimumTCB *TCB `yaml:"minimum_tcb,omitempty"`
	// MinimumCommittedTCB is the floor of COMMITTED_TCB, below which the firmware
	// can't be rolled back.
	MinimumCommittedTCB *TCB `yaml:"minimum_committed_tcb,omitempty"`
	// MinimumLaunchTCB is the floor of the TCB at which the guest was launched.
	MinimumLaunchTCB *TCB `yaml:"minimum_launch_tcb,omitempty"`
	// MinimumReportVersion is the lowest accepted version of the report.
	MinimumReportVersion uint32 `yaml:"minimum_report_version,omitempty"`
	// MinimumGuestSVN is the lowest accepted security version of the guest.
	MinimumGuestSVN uint32 `yaml:"minimum_guest_svn,omitempty"`

	// AllowDebug accepts guests whose memory the host may read. The verdict is marked.
	AllowDebug bool `yaml:"allow_debug,omitempty"`
	// AllowMigrationAgent accepts guests that may be moved by a migration agent.
	AllowMigrationAgent bool `yaml:"allow_migration_agent,omitempty"`
	// AllowSMT false refuses guests that may run beside another thread, and so does nil
	// unless the policy permits what is unpinned.
	AllowSMT *bool `yaml:"allow_smt,omitempty"`
	// AllowMaskedChipID accepts reports of hosts that hide the chip id.
	AllowMaskedChipID bool `yaml:"allow_masked_chip_id,omitempty"`
	// AllowSimulated accepts evidence under a simulated root. The verdict is marked.
	AllowSimulated bool `yaml:"allow_simulated,omitempty"`
	// RequireCRL refuses evidence without a revocation list; left out, it means true,
	// unless the policy permits what is unpinned. A list that is there counts anyhow.
	RequireCRL *bool `yaml:"require_crl,omitempty"`
	// AllowStaleCRL is how long after its end a revocation list is still used: 0 to
	// MaxStaleCRL. The verdict says so.
	AllowStaleCRL time.Duration `yaml:"allow_stale_crl,omitempty"`

	// VMPL is the accepted privilege level, 0 to 3; nil accepts each of these.
	VMPL *uint32 `yaml:"vmpl,omitempty"`
	// Signers are the accepted kinds of key, of "VCEK" and "VLEK"; empty means both.
	Signers []string `yaml:"signers,omitempty"`
	// Products are the accepted product lines, of "Milan", "Genoa" and "Turin"; empty means all.
	Products []string `yaml:"products,omitempty"`
	// GuestPolicyRequires are bits the guest's policy must have: single_socket,
	// mem_aes_256_xts, rapl_disabled, ciphertext_hiding, page_swap_disabled.
	GuestPolicyRequires []string `yaml:"guest_policy_requires,omitempty"`
	// PlatformRequires are bits PLATFORM_INFO must have: smt, tsme, ecc,
	// rapl_disabled, ciphertext_hiding, alias_check_complete, tio.
	PlatformRequires []string `yaml:"platform_requires,omitempty"`

	// PermitUnpinned accepts evidence although what must be said is not, and lists it
	// in the verdict. It can't be set in a file: it is for commands that only look.
	PermitUnpinned bool `yaml:"-"`
}

// Validate tells whether the policy makes sense: sizes of pinned values, known names.
func (p *Policy) Validate() error {
	for _, f := range [...]struct {
		key   string
		pin   *Pin
		sizes [2]int
	}{
		{"measurement", &p.Measurement, [2]int{48, 48}}, {"host_data", &p.HostData, [2]int{32, 32}},
		{"report_data", &p.ReportData, [2]int{64, 64}}, {"id_key_digest", &p.IDKeyDigest, [2]int{48, 48}},
		{"author_key_digest", &p.AuthorKeyDigest, [2]int{48, 48}}, {"family_id", &p.FamilyID, [2]int{16, 16}},
		{"image_id", &p.ImageID, [2]int{16, 16}}, {"chip_ids", &p.ChipIDs, [2]int{8, 64}},
	} {
		if !f.pin.IsSet() || f.pin.any {
			continue
		}
		if err := f.pin.check(f.key, f.sizes[0], f.sizes[1]); err != nil {
			return err
		}
	}
	return p.checkNames()
}

func (p *Policy) checkNames() error {
	for _, s := range p.Signers {
		if s != VCEK.String() && s != VLEK.String() {
			return fmt.Errorf("signers: unknown key %q, want VCEK or VLEK", s)
		}
	}
	for _, s := range p.Products {
		if known, err := productByName(s); err != nil || known.String() != s {
			return fmt.Errorf("products: unknown product %q, want Milan, Genoa or Turin", s)
		}
	}
	for _, s := range p.GuestPolicyRequires {
		if _, ok := bitOf(guestPolicyNames, s); !ok {
			return fmt.Errorf("guest_policy_requires: unknown bit %q, want one of %s", s, listOf(guestPolicyNames))
		}
	}
	for _, s := range p.PlatformRequires {
		if _, ok := bitOf(platformNames, s); !ok {
			return fmt.Errorf("platform_requires: unknown bit %q, want one of %s", s, listOf(platformNames))
		}
	}
	if p.VMPL != nil && *p.VMPL > maxVMPL {
		return fmt.Errorf("vmpl: %d, want 0 to %d", *p.VMPL, maxVMPL)
	}
	if p.AllowStaleCRL < 0 || p.AllowStaleCRL > MaxStaleCRL {
		return fmt.Errorf("allow_stale_crl: %s, want 0 to %s", p.AllowStaleCRL, MaxStaleCRL)
	}
	if p.MinimumReportVersion > MaxReportVersion {
		return fmt.Errorf("minimum_report_version: %d, but no version above %d is known", p.MinimumReportVersion, MaxReportVersion)
	}
	return nil
}
