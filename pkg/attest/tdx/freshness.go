package tdx

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// checkRevocation looks up every certificate that was relied on. It is done anew
// for each quote: a list that newly names a platform ends what was kept of it.
func (s *session) checkRevocation(root, pck *crl) {
	if root == nil || pck == nil {
		return // root_crl or pck_crl has failed
	}
	var revoked []string
	if root.lists(s.chain.ca.SerialNumber) {
		revoked = append(revoked, fmt.Sprintf("the PCK CA %x", s.chain.ca.SerialNumber))
	}
	if pck.lists(s.chain.leaf.SerialNumber) {
		revoked = append(revoked, fmt.Sprintf("the PCK certificate %x", s.chain.leaf.SerialNumber))
	}
	if s.tcb != nil && root.lists(s.tcb.signer.cert.SerialNumber) ||
		s.qe != nil && root.lists(s.qe.signer.cert.SerialNumber) {
		revoked = append(revoked, "the TCB signing certificate")
	}
	if revoked == nil {
		s.verdict.Pass("revocation", "neither PCK certificate nor CA nor TCB signing certificate is revoked")
		return
	}
	s.v.certifications.drop(s.certKey)
	s.v.chains.drop(sha256.Sum256(s.q.PCKChain))
	s.verdict.Fail("revocation", "revoked: %s", strings.Join(revoked, ", "))
}

// checkFreshness compares every part's time of validity with the time, with the
// policy's grace for what Intel publishes anew each month.
func (s *session) checkFreshness(root, pck *crl) {
	var errs []error
	var stale []string
	look := func(w window, what string) {
		if err := w.check(what, s.at, s.policy.AllowStaleCollateral); err != nil {
			errs = append(errs, err)
		}
		if s.at.After(w.until) {
			stale = append(stale, what+" ended at "+rfc3339(w.until))
		}
	}
	if root != nil {
		look(root.window, "the root CRL")
	}
	if pck != nil {
		look(pck.window, "the PCK CRL")
	}
	if s.tcb != nil {
		look(s.tcb.tcbInfo.window, "the TCB info")
		errs = append(errs, s.tcb.signer.window.check("the TCB signing certificate", s.at, 0))
	}
	if s.qe != nil {
		look(s.qe.qeIdentity.window, "the QE identity")
		errs = append(errs, s.qe.signer.window.check("the QE identity's signing certificate", s.at, 0))
	}
	if err := errors.Join(errs...); err != nil {
		s.verdict.Fail("collateral_freshness", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	if s.stale = stale != nil; s.stale {
		s.verdict.Pass("collateral_freshness", "stale, within the %s the policy allows: %s", s.policy.AllowStaleCollateral, strings.Join(stale, "; "))
		return
	}
	s.verdict.Pass("collateral_freshness", "valid at %s", rfc3339(s.at))
}

func (s *session) checkEvaluation() {
	floor := s.policy.MinimumTCBEvaluationDataNumber
	if floor == 0 || s.tcb == nil || s.qe == nil {
		return
	}
	if got := min(s.tcb.tcbInfo.evaluation, s.qe.qeIdentity.evaluation); got < floor {
		s.verdict.Fail("minimum_tcb_evaluation_data_number", "the collateral is of evaluation %d, at least %d is required", got, floor)
		return
	}
	s.verdict.Pass("minimum_tcb_evaluation_data_number", "at least %d", floor)
}
