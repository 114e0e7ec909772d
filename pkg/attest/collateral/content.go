package collateral

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// document checks that a body is what was asked for, and reads when it ends.
func (r Request) document(body, chain []byte) (*Document, error) {
	if int64(len(body)) > r.Kind.maxSize() || len(chain) > maxChain {
		return nil, fmt.Errorf("%w: %d bytes and a chain of %d are too large", ErrContent, len(body), len(chain))
	}
	expires, err := r.expiry(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	if len(chain) > 0 {
		if err := checkPEM(chain); err != nil {
			return nil, fmt.Errorf("%w: issuer chain: %w", ErrContent, err)
		}
	}
	return &Document{Body: body, Chain: chain, Expires: expires}, nil
}

// maxChain bounds an issuer chain in bytes; real ones have 2 KiB.
const maxChain = 12 << 10

// expiry tells when a document ends; the zero time means never.
func (r Request) expiry(body []byte) (time.Time, error) {
	switch r.Kind {
	case AMDCertificate:
		return vcekExpiry(body)
	case AMDChain:
		return time.Time{}, r.checkChain(body)
	case AMDCRL, IntelPCKCRL, IntelRootCRL:
		return crlExpiry(body)
	case IntelTCBInfo:
		return r.tcbInfoExpiry(body)
	case IntelQEIdentity:
		return qeIdentityExpiry(body)
	case NVIDIARIM:
		// NVIDIA doesn't sign a RIM again: it is what it is for ever.
		_, err := nvidia.ParseRIM(body)
		return time.Time{}, err
	case NVIDIAOCSP:
		return r.ocspExpiry(body)
	}
	return time.Time{}, fmt.Errorf("unknown kind %q", r.Kind)
}

// vcekExpiry is the certificate's end. Its names are KDS table 8's.
func vcekExpiry(body []byte) (time.Time, error) {
	cert, err := x509.ParseCertificate(body)
	if err != nil {
		return time.Time{}, err
	}
	if cert.Subject.CommonName != "SEV-VCEK" {
		return time.Time{}, fmt.Errorf("a certificate of %.80q, want SEV-VCEK", cert.Subject.CommonName)
	}
	return cert.NotAfter, nil
}

// checkChain wants the PEM of an ASK or ASVK and the product's ARK.
func (r Request) checkChain(body []byte) error {
	if err := checkPEM(body); err != nil {
		return err
	}
	for rest := body; len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if cert.Subject.CommonName == "ARK-"+r.id {
			return nil
		}
	}
	return fmt.Errorf("no certificate of ARK-%s in it", r.id)
}

// checkPEM wants certificates in PEM and nothing else.
func checkPEM(text []byte) error {
	for n, rest := 0, text; ; n++ {
		if len(bytes.TrimSpace(rest)) == 0 && n > 0 {
			return nil
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return errors.New("no certificates in PEM")
		}
	}
}

func crlExpiry(body []byte) (time.Time, error) {
	list, err := x509.ParseRevocationList(body)
	if err != nil {
		return time.Time{}, err
	}
	if list.NextUpdate.IsZero() {
		return time.Time{}, errors.New("the list says nothing of its next update")
	}
	return list.NextUpdate, nil
}

func (r Request) tcbInfoExpiry(body []byte) (time.Time, error) {
	var doc struct {
		TCBInfo struct {
			ID         string    `json:"id"`
			FMSPC      string    `json:"fmspc"`
			NextUpdate time.Time `json:"nextUpdate"`
		} `json:"tcbInfo"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return time.Time{}, err
	}
	if doc.TCBInfo.ID != "TDX" || !strings.EqualFold(doc.TCBInfo.FMSPC, r.id) {
		return time.Time{}, fmt.Errorf("TCB info of %.20q for %.20q, want TDX for %s", doc.TCBInfo.ID, doc.TCBInfo.FMSPC, r.id)
	}
	return nextUpdate(doc.TCBInfo.NextUpdate)
}

func qeIdentityExpiry(body []byte) (time.Time, error) {
	var doc struct {
		Identity struct {
			ID         string    `json:"id"`
			NextUpdate time.Time `json:"nextUpdate"`
		} `json:"enclaveIdentity"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return time.Time{}, err
	}
	if doc.Identity.ID != "TD_QE" {
		return time.Time{}, fmt.Errorf("identity of %.20q, want TD_QE", doc.Identity.ID)
	}
	return nextUpdate(doc.Identity.NextUpdate)
}

func nextUpdate(at time.Time) (time.Time, error) {
	if at.IsZero() {
		return at, errors.New("the document says nothing of its next update")
	}
	return at, nil
}

func (r Request) ocspExpiry(body []byte) (time.Time, error) {
	answer, err := ocsp.ParseResponseForCert(body, r.subject, nil)
	if err != nil {
		return time.Time{}, err
	}
	return nextUpdate(answer.NextUpdate)
}

// unwrap takes a document out of what the service sends around it.
func (r Request) unwrap(body []byte) ([]byte, error) {
	if r.Kind != NVIDIARIM {
		return body, nil
	}
	var answer struct {
		ID     string `json:"id"`
		RIM    string `json:"rim"`
		SHA256 string `json:"sha256"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	document, err := base64.StdEncoding.DecodeString(answer.RIM)
	if err != nil || answer.ID != r.id {
		return nil, fmt.Errorf("%w: the RIM service's answer names %.140q, want %s", ErrContent, answer.ID, r.id)
	}
	if sum := sha256.Sum256(document); answer.SHA256 != "" && !strings.EqualFold(answer.SHA256, hex.EncodeToString(sum[:])) {
		return nil, fmt.Errorf("%w: the RIM's SHA-256 is %x, the answer says %.80q", ErrContent, sum, answer.SHA256)
	}
	return document, nil
}

// chainFrom reads an issuer chain from a header, where it is percent-encoded.
func chainFrom(header string) ([]byte, error) {
	if header == "" {
		return nil, nil
	}
	text, err := url.PathUnescape(header)
	if err != nil {
		return nil, fmt.Errorf("%w: issuer chain: %w", ErrContent, err)
	}
	return []byte(text), nil
}
