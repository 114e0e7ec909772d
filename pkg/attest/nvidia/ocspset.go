package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"
)

// maxOCSPFiles bounds a set; a host of 8 GPUs and 4 switches needs about 40.
const maxOCSPFiles = 4096

// clockSkew is how far a responder's clock may be ahead.
const clockSkew = 5 * time.Minute

// OCSPSet holds OCSP responses. It may be used by several goroutines once it is
// filled. The nil set stands for "no responses were given".
type OCSPSet struct {
	bySerial map[string][]ocspEntry // by the bytes of the serial number
	n        int
}

type ocspEntry struct {
	response *ocspBasic
	single   *ocspSingle
	digest   digest
}

// NewOCSPSet returns a set of responses in DER, or in one line of base64 as the
// attestation SDK stores them.
func NewOCSPSet(responses ...[]byte) (*OCSPSet, error) {
	s := &OCSPSet{bySerial: map[string][]ocspEntry{}}
	for i, r := range responses {
		if err := s.Add(r); err != nil {
			return nil, fmt.Errorf("OCSP response %d: %w", i, err)
		}
	}
	return s, nil
}

// Add puts in one response, in DER or base64. Nothing is believed of it until it
// is asked for a certificate whose issuer is known.
func (s *OCSPSet) Add(response []byte) error {
	if s.n == maxOCSPFiles {
		return fmt.Errorf("more than %d responses", maxOCSPFiles)
	}
	der := response
	if len(response) > 0 && response[0] != 0x30 { // SEQUENCE
		text := bytes.TrimSuffix(response, []byte("\n"))
		var err error
		if der, err = base64.StdEncoding.Strict().DecodeString(string(text)); err != nil || bytes.IndexByte(text, '\n') >= 0 {
			return fmt.Errorf("neither DER nor one line of base64")
		}
	}
	parsed, err := parseOCSP(der)
	if err != nil {
		return err
	}
	s.n++
	for i := range parsed.Data.Responses {
		single := &parsed.Data.Responses[i]
		serial := string(single.ID.Serial.Bytes())
		s.bySerial[serial] = append(s.bySerial[serial], ocspEntry{parsed, single, digestOf(der)})
	}
	return nil
}

// find returns the newest statement about a certificate that was made before at.
func (s *OCSPSet) find(cert *x509.Certificate, by *issuer, at time.Time) (ocspEntry, bool) {
	var best ocspEntry
	for _, e := range s.bySerial[string(cert.SerialNumber.Bytes())] {
		// The key leaves out the sign.
		if e.single.ID.Serial.Cmp(cert.SerialNumber) != 0 || !by.is(e.single.ID) || e.single.ThisUpdate.After(at.Add(clockSkew)) {
			continue
		}
		if best.single == nil || e.single.ThisUpdate.After(best.single.ThisUpdate) {
			best = e
		}
	}
	return best, best.single != nil
}
