package nvidia

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"time"
)

const (
	maxOCSPSize      = 16 << 10 // real ones have 1 KiB
	maxOCSPResponses = 16       // statements in one response; real ones have one
	maxResponders    = 1        // certificates in one response
)

// The ASN.1 of RFC 6960, 4.2.1.
type (
	ocspEnvelope struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type     asn1.ObjectIdentifier
			Response []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	ocspBasic struct {
		Data         ocspData
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	ocspData struct {
		Raw        asn1.RawContent
		Version    int `asn1:"explicit,tag:0,optional,default:0"`
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []ocspSingle
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	ocspSingle struct {
		ID         ocspCertID
		Good       asn1.Flag   `asn1:"tag:0,optional"`
		Revoked    ocspRevoked `asn1:"tag:1,optional"`
		Unknown    asn1.Flag   `asn1:"tag:2,optional"`
		ThisUpdate time.Time   `asn1:"generalized"`
		NextUpdate time.Time   `asn1:"generalized,explicit,tag:0,optional"`

		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	ocspCertID struct {
		Hash     pkix.AlgorithmIdentifier
		NameHash []byte
		KeyHash  []byte
		Serial   *big.Int
	}
	ocspRevoked struct {
		Time   time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
	}
)

var (
	oidOCSPBasic       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidECDSAWithSHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
)

// reasonHold is certificateHold (RFC 5280, 5.3.1): a revocation that may be lifted.
const reasonHold = 6

// certStatus is what an OCSP response says of a certificate.
type certStatus string

const (
	statusGood    certStatus = "good"
	statusHold    certStatus = "on hold"
	statusRevoked certStatus = "revoked"
	statusUnknown certStatus = "unknown"
)

func (s ocspSingle) status() (certStatus, error) {
	revoked := !s.Revoked.Time.IsZero()
	switch {
	case bool(s.Good) && !bool(s.Unknown) && !revoked:
		return statusGood, nil
	case bool(s.Unknown) && !bool(s.Good) && !revoked:
		return statusUnknown, nil
	case revoked && !bool(s.Good) && !bool(s.Unknown) && s.Revoked.Reason == reasonHold:
		return statusHold, nil
	case revoked && !bool(s.Good) && !bool(s.Unknown):
		return statusRevoked, nil
	}
	return "", errors.New("it states no status, or several")
}

// parseOCSP parses a response in DER. Its signature is not checked yet.
func parseOCSP(der []byte) (*ocspBasic, error) {
	if len(der) > maxOCSPSize {
		return nil, fmt.Errorf("%d bytes are more than %d", len(der), maxOCSPSize)
	}
	var outer ocspEnvelope
	if err := unmarshalDER(der, &outer); err != nil {
		return nil, fmt.Errorf("not an OCSP response: %w", err)
	}
	if outer.Status != 0 || !outer.Bytes.Type.Equal(oidOCSPBasic) {
		return nil, fmt.Errorf("the responder answered with status %d and no basic response", outer.Status)
	}
	basic := new(ocspBasic)
	if err := unmarshalDER(outer.Bytes.Response, basic); err != nil {
		return nil, fmt.Errorf("not a basic OCSP response: %w", err)
	}
	return basic, basic.check()
}

// unmarshalDER parses what fills der, and refuses what would be written in another
// way: encoding/asn1 overlooks some bits of explicit tags, which are not signed.
func unmarshalDER(der []byte, to any) error {
	if rest, err := asn1.Unmarshal(der, to); err != nil || len(rest) != 0 {
		return orTrailing(err)
	}
	again, err := asn1.Marshal(reflect.ValueOf(to).Elem().Interface())
	if err != nil {
		return fmt.Errorf("write it again: %w", err)
	}
	if !bytes.Equal(again, der) {
		return errors.New("it is not in DER")
	}
	return nil
}

func (b *ocspBasic) check() error {
	switch n := len(b.Data.Responses); {
	case n == 0 || n > maxOCSPResponses:
		return fmt.Errorf("it speaks of %d certificates, want 1 to %d", n, maxOCSPResponses)
	case len(b.Certificates) > maxResponders:
		return fmt.Errorf("it carries %d certificates, want at most %d", len(b.Certificates), maxResponders)
	case !b.Algorithm.Algorithm.Equal(oidECDSAWithSHA384) || len(b.Algorithm.Parameters.FullBytes) != 0:
		return fmt.Errorf("it is signed with algorithm %s, want ECDSA with SHA-384", b.Algorithm.Algorithm)
	case b.Signature.BitLength%8 != 0:
		return errors.New("its signature is not a whole number of bytes")
	}
	if err := noneCritical(b.Data.Extensions); err != nil {
		return err
	}
	for _, s := range b.Data.Responses {
		if _, err := s.status(); err != nil {
			return err
		}
		if err := noneCritical(s.Extensions); err != nil {
			return err
		}
		if s.ID.Serial == nil || s.NextUpdate.IsZero() || s.NextUpdate.Before(s.ThisUpdate) {
			return errors.New("it has no NextUpdate after its ThisUpdate")
		}
	}
	return nil
}

// noneCritical refuses what must be understood to understand the response (RFC 6960, 4.4).
func noneCritical(extensions []pkix.Extension) error {
	for _, e := range extensions {
		if e.Critical {
			return fmt.Errorf("critical extension %s is not understood", e.Id)
		}
	}
	return nil
}
