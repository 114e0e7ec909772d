package tdx

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// session is one verification.
type session struct {
	v          *Verifier
	verdict    *attest.Verdict
	policy     *Policy
	collateral *Collateral
	at         time.Time

	q         *Quote
	certKey   digest         // of the quote's certification
	certified *certification // what was verified before, or nil
	chain     *pckChain      // nil if it could not be read
	tcb       *signedTCBInfo // nil if unusable
	qe        *signedQEIdentity
	result    *tcbResult
	stale     bool
}

func (s *session) fail(name string, err error) { s.verdict.Fail(name, "%v", err) }

// checkQuote reads the quote; without a readable quote there is nothing else to
// check.
func (s *session) checkQuote(raw []byte) bool {
	q, err := ParseQuote(raw)
	if errors.Is(err, ErrVersion) {
		s.fail("quote_version", err)
		return false
	}
	if err != nil {
		s.fail("quote_format", err)
		return false
	}
	s.q = q
	if q.Trailing > 0 {
		s.verdict.Pass("quote_format", "%d bytes; the last %d are not authenticated and were not used", len(raw), q.Trailing)
	} else {
		s.verdict.Pass("quote_format", "%d bytes", len(raw))
	}
	s.verdict.Pass("quote_version", "version %d, body type %d", q.Header.Version, q.Body.Type)
	return true
}

// intelQEVendorID is the id of Intel's quoting enclave, from the DCAP quote format.
var intelQEVendorID = [16]byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}

func (s *session) checkVendor() {
	got := s.q.Header.QEVendorID
	pin := s.policy.QEVendorID
	if pin.absent() {
		pin = OneOf(intelQEVendorID[:])
	}
	s.verdict.Report("qe_vendor_id", pin.check(got[:]), "%x", got)
}

// checkChain follows the PCK chain to the root, unless this platform's was
// followed before, and says whether it leads there.
func (s *session) checkChain() bool {
	s.certKey = sha256.Sum256(s.q.certification)
	if c, ok := s.v.certifications.get(s.certKey, s.at); ok {
		s.certified, s.chain = c, c.chain
	} else if err := s.findChain(); err != nil {
		s.fail("pck_chain", err)
		return false
	}
	s.verdict.Pass("pck_chain", "%q, issued under %q", s.chain.ca.Subject.CommonName, s.v.root.Subject.CommonName)
	w := s.chain.window
	s.verdict.Report("pck_validity", w.check("the PCK chain", s.at, 0), "until %s", rfc3339(w.until))
	return true
}

func (s *session) findChain() error {
	chainKey := sha256.Sum256(s.q.PCKChain)
	if c, ok := s.v.chains.get(chainKey, s.at); ok {
		s.chain = c
		return nil
	}
	var err error
	if s.chain, err = parsePCKChain(s.q.PCKChain); err != nil {
		return err
	}
	if err := s.chain.verify(s.v.root); err != nil {
		return err
	}
	s.v.chains.put(chainKey, s.chain, s.chain.window.until)
	return nil
}

// checkSignatures checks the way from the PCK key to the quoted bytes: QE report,
// attestation key, quote.
func (s *session) checkSignatures() {
	key, err := s.checkAttestationKey()
	if err != nil {
		s.fail("quote_signature", err)
		return
	}
	s.verdict.Report("quote_signature", verifyRaw(key, s.q.Signed, s.q.Signature), "%d bytes signed by the attestation key", len(s.q.Signed))
}

func (s *session) checkAttestationKey() (key *ecdsa.PublicKey, err error) {
	if s.certified != nil {
		s.verdict.Pass("qe_report_signature", "signed by the PCK key")
		s.verdict.Pass("qe_report_data_binding", "the QE report binds the attestation key")
		return s.certified.key, nil
	}
	signed := s.verdict.Report("qe_report_signature",
		verifyRaw(s.chain.key, s.q.QEReportRaw, s.q.QEReportSignature), "signed by the PCK key")
	bound := s.verdict.Report("qe_report_data_binding", checkBinding(s.q), "the QE report binds the attestation key")
	if key, err = rawKey(s.q.AttestationKey); err != nil {
		return nil, err
	}
	if signed && bound {
		s.v.certifications.put(s.certKey, &certification{s.chain, key}, s.chain.window.until)
	}
	return key, nil
}

// checkBinding checks that the QE report's data are the SHA-256 of attestation
// key and auth data, followed by zeros.
func checkBinding(q *Quote) error {
	h := sha256.New()
	h.Write(q.AttestationKey)
	h.Write(q.QEAuthData)
	var want [64]byte
	h.Sum(want[:0])
	if q.QEReport.ReportData != want {
		return fmt.Errorf("the QE report's data are %x, expected %x", q.QEReport.ReportData, want)
	}
	return nil
}

// digestOf names a group of byte strings by one digest, lengths included.
func digestOf(parts ...[]byte) digest {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	var d digest
	h.Sum(d[:0])
	return d
}
