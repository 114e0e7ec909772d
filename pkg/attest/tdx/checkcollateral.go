package tdx

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
)

// signedTCBInfo and signedQEIdentity are documents whose signature was checked,
// with the certificate that signed them.
type signedTCBInfo struct {
	*tcbInfo
	signer *signer
	claims []namedClaim
}

type signedQEIdentity struct {
	*qeIdentity
	signer *signer
	claims []namedClaim
}

// checkCollateral verifies every part of the collateral that is there, each once
// for all quotes, and then what depends on this quote and on the time.
func (s *session) checkCollateral() {
	if missing := s.collateral.missing(); missing != nil {
		s.verdict.Fail("collateral", "missing: %s; hand in what Intel's PCS publishes, or say tcb: chain_only", strings.Join(missing, ", "))
		return
	}
	s.verdict.Pass("collateral", "TCB info, QE identity, PCK CRL and root CRL are there")
	rootCRL, err := s.rootCRL()
	s.verdict.Report("root_crl", err, "signed by the root")
	var pckCRL *crl
	if s.chain != nil {
		pckCRL, err = s.pckCRL()
		s.verdict.Report("pck_crl", err, "signed by %q", s.chain.ca.Subject.CommonName)
	}
	s.tcb, err = s.signedTCBInfo()
	s.verdict.Report("tcb_info_signature", err, "signed by Intel's TCB signing key")
	s.qe, err = s.signedQEIdentity()
	s.verdict.Report("qe_identity_signature", err, "signed by Intel's TCB signing key")
	s.checkRevocation(rootCRL, pckCRL)
	s.checkFreshness(rootCRL, pckCRL)
	s.checkEvaluation()
}

func (s *session) rootCRL() (*crl, error) {
	key := digestOf(s.collateral.RootCRL)
	if c, ok := s.v.crls.get(key, s.at); ok {
		return c, nil
	}
	c, err := verifyCRL(s.collateral.RootCRL, s.v.root)
	if err != nil {
		return nil, fmt.Errorf("root CRL: %w", err)
	}
	s.v.crls.put(key, c, c.window.until.Add(maxStale))
	return c, nil
}

// pckCRL verifies the PCK CRL under the CA of the quote's own chain. An issuer
// chain that was handed in must lead to the root and be of the same CA.
func (s *session) pckCRL() (*crl, error) {
	ca := s.chain.ca
	key := digestOf(s.collateral.PCKCRL, s.collateral.PCKCRLChain, ca.RawSubject, ca.RawSubjectPublicKeyInfo)
	if c, ok := s.v.crls.get(key, s.at); ok && s.trusted {
		return c, nil
	}
	if chain := s.collateral.PCKCRLChain; len(chain) > 0 {
		issuer, err := verifyCRLIssuer(chain, s.v.root)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(issuer.cert.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo) {
			return nil, fmt.Errorf("PCK CRL chain: it is of %q, not of the CA that issued the PCK certificate", issuer.cert.Subject.CommonName)
		}
	}
	c, err := verifyCRL(s.collateral.PCKCRL, ca)
	if err != nil {
		return nil, fmt.Errorf("PCK CRL: %w", err)
	}
	if s.trusted {
		s.v.crls.put(key, c, c.window.until.Add(maxStale))
	}
	return c, nil
}

func (s *session) signedTCBInfo() (*signedTCBInfo, error) {
	c := s.collateral
	chain, err := s.signerChain(c.TCBInfoChain, c.QEIdentityChain, "tcb_info_chain.pem")
	if err != nil {
		return nil, err
	}
	key := digestOf(c.TCBInfo, chain)
	if t, ok := s.v.tcbInfos.get(key, s.at); ok {
		return t, nil
	}
	body, by, err := s.open(c.TCBInfo, "tcbInfo", chain)
	if err != nil {
		return nil, fmt.Errorf("TCB info: %w", err)
	}
	info, err := parseTCBInfo(body)
	if err != nil {
		return nil, err
	}
	t := &signedTCBInfo{info, by, documentClaims("tcb_info", info.evaluation, "tcb_evaluation_data_number", info.window)}
	s.v.tcbInfos.put(key, t, info.window.until.Add(maxStale))
	return t, nil
}

func (s *session) signedQEIdentity() (*signedQEIdentity, error) {
	c := s.collateral
	chain, err := s.signerChain(c.QEIdentityChain, c.TCBInfoChain, "qe_identity_chain.pem")
	if err != nil {
		return nil, err
	}
	key := digestOf(c.QEIdentity, chain)
	if q, ok := s.v.qeIdentities.get(key, s.at); ok {
		return q, nil
	}
	body, by, err := s.open(c.QEIdentity, "enclaveIdentity", chain)
	if err != nil {
		return nil, fmt.Errorf("QE identity: %w", err)
	}
	identity, err := parseQEIdentity(body)
	if err != nil {
		return nil, err
	}
	q := &signedQEIdentity{identity, by, documentClaims("qe_identity", identity.evaluation, "qe_identity_evaluation_data_number", identity.window)}
	s.v.qeIdentities.put(key, q, identity.window.until.Add(maxStale))
	return q, nil
}

// signerChain chooses the chain of the signing certificate: the document's own,
// the other document's, since one certificate signs both, or Intel's known one.
func (s *session) signerChain(own, other []byte, file string) ([]byte, error) {
	switch {
	case len(own) > 0:
		return own, nil
	case len(other) > 0:
		return other, nil
	case s.v.intelRoot:
		return intelTCBSigningPEM, nil
	}
	return nil, fmt.Errorf("%s is missing, and under a root that is not Intel's nothing stands in for it", file)
}

// open checks a document's signature over its exact bytes and returns them.
func (s *session) open(doc []byte, member string, chain []byte) ([]byte, *signer, error) {
	body, sig, err := openEnvelope(doc, member)
	if err != nil {
		return nil, nil, err
	}
	key := digestOf(chain)
	by, ok := s.v.signers.get(key, s.at)
	if !ok {
		if by, err = verifySigner(chain, s.v.root); err != nil {
			return nil, nil, err
		}
		s.v.signers.put(key, by, by.window.until)
	}
	return body, by, verifyRaw(by.key, body, sig)
}

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
	s.verdict.Pass("collateral_freshness", "valid at %s", s.at.UTC().Format(time.RFC3339))
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
