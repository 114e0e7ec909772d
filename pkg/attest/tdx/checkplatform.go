package tdx

import (
	"fmt"
	"slices"
)

// checkPlatform judges the quoting enclave, the platform and the TDX module, by
// collateral where the policy requires it.
func (s *session) checkPlatform() {
	s.checkQE()
	s.checkIdentity()
	if s.tcb == nil || s.qe == nil {
		return // chain_only, or a failed check says why
	}
	err := checkModule(s.tcb.tcbInfo, &s.q.Body)
	s.verdict.Report("module_identity", err, "TDX module version %d", s.q.Body.TEETCBSVN[1])
	if err == nil {
		s.checkStatus()
	}
}

// checkQE compares the quoting enclave with Intel's: by collateral, or else by
// what is known here of Intel's; under another root only debug mode is refused.
func (s *session) checkQE() {
	r := &s.q.QEReport
	switch {
	case s.qe != nil:
		s.verdict.Report("qe_identity", s.qe.check(r), "product %d, SVN %d, as the QE identity has it", r.ISVProdID, r.ISVSVN)
	case s.policy.TCB != ChainOnly: // its signature check has failed
	case s.v.intelRoot:
		s.verdict.Report("qe_identity", checkIntelQE(r), "Intel's TD quoting enclave, SVN %d, by its signer", r.ISVSVN)
	default:
		s.verdict.Report("qe_identity", checkQEDebug(r), "not in debug mode; who signed it is not known under this root")
	}
}

// checkIdentity checks that TCB info and policy speak of this platform.
func (s *session) checkIdentity() {
	x := &s.chain.ext
	if s.tcb != nil || !s.policy.FMSPC.absent() {
		s.verdict.Report("fmspc", s.checkFMSPC(x), "%x", x.FMSPC)
	}
	if s.policy.FMSPC.absent() || s.policy.FMSPC.Any {
		s.notPinned("fmspc")
	}
	switch pin := &s.policy.PPID; {
	case pin.absent() && s.policy.Absent == AbsentRefused:
		s.verdict.Fail("ppid", "the policy doesn't say which platforms are wanted; name them, or say any")
		s.notPinned("ppid")
	case pin.absent() || pin.Any:
		s.notPinned("ppid")
	default:
		s.verdict.Report("ppid", pin.check(x.PPID[:]), "%x", x.PPID)
	}
}

func (s *session) checkFMSPC(x *PCKExtensions) error {
	if s.tcb != nil {
		if t := s.tcb.tcbInfo; x.FMSPC != t.fmspc || x.PCEID != t.pceid {
			return fmt.Errorf("the TCB info is of FMSPC %x, PCE %x; the platform is %x, %x", t.fmspc, t.pceid, x.FMSPC, x.PCEID)
		}
	}
	if s.policy.FMSPC.absent() {
		return nil
	}
	return s.policy.FMSPC.check(x.FMSPC[:])
}

func (s *session) checkStatus() {
	r, err := evaluateTCB(s.tcb.tcbInfo, s.qe.qeIdentity, &s.chain.ext, s.q)
	if err != nil {
		s.fail("tcb_status", err)
		return
	}
	s.result = r
	accepted := s.policy.AcceptedTCBStatuses
	if len(accepted) == 0 {
		accepted = []Status{UpToDate}
	}
	if r.status == Revoked || !slices.Contains(accepted, r.status) {
		s.verdict.Fail("tcb_status", "%s (platform %s, TDX module %s, quoting enclave %s), accepted are %v", r.status, r.platform, r.module, r.qe, accepted)
		return
	}
	s.verdict.Pass("tcb_status", "%s (platform %s, TDX module %s, quoting enclave %s)", r.status, r.platform, r.module, r.qe)
}

// checkTD compares what the report says of the TD with the policy.
func (s *session) checkTD() {
	b := &s.q.Body
	if s.policy.AllowDebug && b.TDAttributes[0] != 0 {
		s.verdict.Insecure = append(s.verdict.Insecure, MarkDebug)
		s.verdict.Pass("debug_off", "the TD is in debug mode, which the policy allows")
	} else {
		s.verdict.Report("debug_off", checkDebugOff(b), "not in debug mode")
	}
	for i := range bodyChecks {
		s.checkField(&bodyChecks[i], b)
	}
	s.checkMinimumSVN(b)
}

func (s *session) checkField(f *bodyCheck, b *Body) {
	pin, value := f.pin(s.policy), f.value(b)
	switch {
	case value == nil && (pin.absent() || pin.Any):
		return // a field this report doesn't have
	case value == nil:
		s.verdict.Fail(f.name, "the policy pins it, but TD reports of version 1.0 don't have it")
		return
	case !pin.absent() && !pin.Any:
		s.verdict.Report(f.name, pin.check(value), "%x", value)
		return
	case pin.absent() && f.bound && s.policy.Absent == AbsentRefused:
		s.verdict.Fail(f.name, "the policy doesn't say which value is expected; name it, or say any")
	case pin.absent() && f.rule != nil:
		s.verdict.Report(f.name, f.rule(value, s.policy.Absent == AbsentRefused), "%x is within the default rule", value)
		if f.fixed {
			return
		}
	}
	s.notPinned(f.name)
}

func (s *session) checkMinimumSVN(b *Body) {
	pin := &s.policy.MinimumTEETCBSVN
	if len(pin.Values) == 0 {
		if pin.absent() && s.policy.TCB == ChainOnly && s.policy.Absent == AbsentRefused {
			s.verdict.Fail("minimum_tee_tcb_svn", "under chain_only no status is a floor, and the policy names none; name it, or say any")
		}
		s.notPinned("minimum_tee_tcb_svn")
	} else if floor := pin.Values[0]; atLeast(b.TEETCBSVN[:], floor) {
		s.verdict.Pass("minimum_tee_tcb_svn", "%x is at least %x in every element", b.TEETCBSVN, floor)
	} else {
		s.verdict.Fail("minimum_tee_tcb_svn", "%x, at least %x is required in every element", b.TEETCBSVN, floor)
	}
	if s.policy.MinimumTCBEvaluationDataNumber == 0 {
		s.notPinned("minimum_tcb_evaluation_data_number")
	}
}

func (s *session) notPinned(name string) {
	s.verdict.NotPinned = append(s.verdict.NotPinned, name)
}
