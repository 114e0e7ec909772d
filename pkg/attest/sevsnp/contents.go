package sevsnp

import (
	"fmt"
	"slices"
)

// maxVMPL is the least privileged level of a guest; a report that the host asked for
// carries 0xFFFFFFFF instead (ABI table 23, VMPL).
const maxVMPL = 3

// contents compares the authentic report with the policy, in a fixed order, and goes
// on after failures.
func (j *judge) contents() {
	p, r := j.policy, j.report
	product := j.facts.ek.product
	j.floor(CheckTCBFloor, "minimum_tcb", p.MinimumTCB, r.ReportedTCB.Decode(product), true)
	j.floor(CheckCommittedTCBFloor, "minimum_committed_tcb", p.MinimumCommittedTCB, r.CommittedTCB.Decode(product), false)
	j.floor(CheckLaunchTCBFloor, "minimum_launch_tcb", p.MinimumLaunchTCB, r.LaunchTCB.Decode(product), false)
	j.debug()
	j.migration()
	j.smt()
	j.bits(CheckGuestPolicy, "guest_policy_requires", p.GuestPolicyRequires, guestPolicyNames, uint64(r.Policy))
	j.bits(CheckPlatformInfo, "platform_requires", p.PlatformRequires, platformNames, uint64(r.PlatformInfo))
	j.vmpl()
	j.guestSVN()
	j.pin(CheckMeasurement, "measurement", p.Measurement, r.Measurement[:], true)
	j.pin(CheckHostData, "host_data", p.HostData, r.HostData[:], true)
	j.pin(CheckReportData, "report_data", p.ReportData, r.ReportData[:], true)
	j.pin(CheckIDKeyDigest, "id_key_digest", p.IDKeyDigest, r.IDKeyDigest[:], false)
	j.authorKey()
	j.pin(CheckFamilyID, "family_id", p.FamilyID, r.FamilyID[:], false)
	j.pin(CheckImageID, "image_id", p.ImageID, r.ImageID[:], false)
	j.chipID()
	j.cspID()
}

func (j *judge) notPinned(key string) { j.NotPinned = append(j.NotPinned, key) }

// floor compares levels with a floor, which a strict policy must say if it must.
func (j *judge) floor(check, key string, floor *TCB, got TCB, must bool) {
	switch {
	case floor == nil && must && !j.policy.PermitUnpinned:
		j.Fail(check, "the policy doesn't say which levels are the least; name %s, or say %s", key, anyWord)
		return
	case floor == nil:
		j.notPinned(key)
		return
	}
	if what, low := got.below(*floor); low {
		j.Fail(check, "%s", what)
		return
	}
	j.Pass(check, "no level is below the floor")
}

func (j *judge) debug() {
	if j.report.Policy&PolicyDebug == 0 {
		j.Pass(CheckDebugOff, "the host can't read the guest's memory")
		return
	}
	j.Insecure = append(j.Insecure, "debug")
	if j.policy.AllowDebug {
		j.Pass(CheckDebugOff, "debugging is on, which the policy allows")
		return
	}
	j.Fail(CheckDebugOff, "the guest was launched with debugging on: the host can read its memory")
}

func (j *judge) migration() {
	switch {
	case j.report.Policy&PolicyMigrationAgent == 0:
		j.Pass(CheckMigrationAgentOff, "no migration agent is allowed")
	case j.policy.AllowMigrationAgent:
		j.Pass(CheckMigrationAgentOff, "a migration agent is allowed, as by the policy")
	default:
		j.Fail(CheckMigrationAgentOff, "the guest was launched with a migration agent allowed")
	}
}

func (j *judge) smt() {
	allowed := j.report.Policy&PolicySMT != 0
	switch {
	case j.policy.AllowSMT == nil && j.policy.PermitUnpinned:
		j.notPinned("allow_smt")
	case allowed && j.policy.AllowSMT == nil:
		j.Fail(CheckSMT, "the guest was launched with SMT allowed, and the policy doesn't say allow_smt")
	case allowed && !*j.policy.AllowSMT:
		j.Fail(CheckSMT, "the guest was launched with SMT allowed")
	default:
		j.Pass(CheckSMT, "SMT is as the policy says")
	}
}

func (j *judge) bits(check, key string, want []string, names []named, got uint64) {
	if len(want) == 0 {
		j.notPinned(key)
		return
	}
	for _, name := range want {
		if bit, _ := bitOf(names, name); got&bit == 0 {
			j.Fail(check, "%s is not set in 0x%x", name, got)
			return
		}
	}
	j.Pass(check, "0x%x has all of %v", got, want)
}

func (j *judge) vmpl() {
	got, want := j.report.VMPL, j.policy.VMPL
	switch {
	case got > maxVMPL:
		j.Fail(CheckVMPL, "0x%x: the report was asked for by the host, not by the guest", got)
	case want == nil:
		j.Pass(CheckVMPL, "level %d", got)
		j.notPinned("vmpl")
	case got != *want:
		j.Fail(CheckVMPL, "level %d, want %d", got, *want)
	default:
		j.Pass(CheckVMPL, "level %d", got)
	}
}

func (j *judge) guestSVN() {
	switch {
	case j.policy.MinimumGuestSVN == 0:
		j.notPinned("minimum_guest_svn")
	case j.report.GuestSVN < j.policy.MinimumGuestSVN:
		j.Fail(CheckGuestSVN, "%d, want at least %d", j.report.GuestSVN, j.policy.MinimumGuestSVN)
	default:
		j.Pass(CheckGuestSVN, "%d", j.report.GuestSVN)
	}
}

// pin compares one field of bytes. A field that must be pinned and isn't fails,
// unless the policy permits that.
func (j *judge) pin(check, key string, pin Pin, got []byte, must bool) {
	switch {
	case !pin.IsSet() && must && !j.policy.PermitUnpinned:
		j.Fail(check, "the policy doesn't say which %s is wanted; pin it, or say %s", key, anyWord)
	case !pin.IsSet():
		j.notPinned(key)
	case pin.any:
		j.Pass(check, "any is accepted")
	case pin.match(got):
		j.Pass(check, "as pinned")
	default:
		j.Fail(check, "%x, want %v", got, pin)
	}
}

// authorKey compares the author key's digest, which is there only if the id block
// had an author key.
func (j *judge) authorKey() {
	pin := j.policy.AuthorKeyDigest
	if pin.IsSet() && !pin.any && !j.report.Signer.AuthorKey() {
		j.Fail(CheckAuthorKeyDigest, "the guest was launched without an author key, want %v", pin)
		return
	}
	j.pin(CheckAuthorKeyDigest, "author_key_digest", pin, j.report.AuthorKeyDigest[:], false)
}

// chipID compares the chip with the allow list; a VLEK's report may carry the id, too.
func (j *judge) chipID() {
	got := j.report.ChipID[:]
	if allZero(got) && j.facts.ek.hwid != nil {
		got = j.facts.ek.hwid // masked in the report, but the key is this chip's
	}
	size := j.facts.ek.product.chipIDSize()
	if allZero(got) && j.policy.ChipIDs.IsSet() && !j.policy.ChipIDs.any {
		j.Fail(CheckChipID, "the report names no chip, want %v", j.policy.ChipIDs)
		return
	}
	// Under a VLEK the provider stands for the chip: see cspID.
	j.pin(CheckChipID, "chip_ids", j.policy.ChipIDs, got[:size], j.facts.ek.hwid != nil)
}

func (j *judge) cspID() {
	want, got := j.policy.CSPIDs, j.facts.ek.cspID
	switch {
	case len(want) == 0 && j.facts.ek.hwid == nil && !j.policy.ChipIDs.IsSet() && !j.policy.PermitUnpinned:
		j.Fail(CheckCSPID, "the policy doesn't say which provider's platforms are wanted; name csp_ids or chip_ids, or say %s", anyWord)
		return
	case len(want) == 0:
		j.notPinned("csp_ids")
		return
	case slices.Contains(want, anyWord):
		j.Pass(CheckCSPID, "any is accepted")
		return
	}
	var err error
	if !slices.Contains(want, got) {
		err = fmt.Errorf("provider is %q, want one of %q", got, want)
	}
	j.Report(CheckCSPID, err, "provider is %q", got)
}
