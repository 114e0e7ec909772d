package tdx

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
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
	pckCRL, err := s.pckCRL()
	s.verdict.Report("pck_crl", err, "signed by %q", s.chain.ca.Subject.CommonName)
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
	if c, ok := s.v.crls.get(key, s.at); ok {
		return c, nil
	}
	if chain := s.collateral.PCKCRLChain; len(chain) > 0 {
		issuer, err := s.signer(s.v.crlIssuers, chain, verifyCRLIssuer)
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
	s.v.crls.put(key, c, c.window.until.Add(maxStale))
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
	by, err := s.signer(s.v.signers, chain, verifySigner)
	if err != nil {
		return nil, nil, err
	}
	return body, by, verifyRaw(by.key, body, sig)
}

// signer verifies an issuer chain for a purpose, or finds that it was verified for
// that purpose: each has a memo of its own, since what may sign a list may not
// sign a document.
func (s *session) signer(kept *memo[*signer], chain []byte, verify func([]byte, *x509.Certificate) (*signer, error)) (*signer, error) {
	key := digestOf(chain)
	if by, ok := kept.get(key, s.at); ok {
		return by, nil
	}
	by, err := verify(chain, s.v.root)
	if err != nil {
		return nil, err
	}
	kept.put(key, by, by.window.until)
	return by, nil
}
