package collateral

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 of certificate ids
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// rimID is the form of NVIDIA's RIM ids. Versions in them come from evidence.
var rimID = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`)

// RIM asks for a reference integrity manifest by its id.
func RIM(id string) (Request, error) {
	if !rimID.MatchString(id) || strings.Contains(id, "..") {
		return Request{}, fmt.Errorf("RIM id %.140q has characters that no id has", id)
	}
	return Request{Kind: NVIDIARIM, Service: NVIDIARIMs, Path: "/v1/rim/" + id, File: "nvidia/rim/" + id + ".xml", id: id}, nil
}

// OCSP asks whether a certificate was revoked (RFC 6960, appendix A.1). The issuer
// is the one whose responder answers. The request has no nonce, so that answers
// can be kept.
func OCSP(cert, issuer *x509.Certificate) (Request, error) {
	body, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: crypto.SHA384})
	if err != nil {
		return Request{}, fmt.Errorf("OCSP request for serial %x: %w", cert.SerialNumber, err)
	}
	sum := sha256.Sum256(cert.Raw)
	return Request{
		Kind: NVIDIAOCSP, Service: NVIDIAOCSPs, Path: "/", Body: body,
		File: "nvidia/ocsp/" + hex.EncodeToString(sum[:]) + ".der", subject: cert,
	}, nil
}

// ForDevices lists the RIMs and OCSP responses that the evidence of GPUs and
// switches needs; nothing in it is believed. The certificates in RIMs have
// responses of their own: see ForRIM.
func ForDevices(e nvidia.Evidence) ([]Request, error) {
	ids, err := e.RIMIDs()
	if err != nil {
		return nil, fmt.Errorf("read the evidence: %w", err)
	}
	var out []Request
	for _, id := range ids {
		r, err := RIM(id)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	seen := map[string]bool{}
	for i, d := range e.Devices {
		// The leaf is the firmware's and made by the device itself: no responder
		// knows it.
		more, err := forChain(d.Chain, 1, seen)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
		out = append(out, more...)
	}
	return out, nil
}

// forChain lists the responses for a chain from a position on, its root left out.
func forChain(chain [][]byte, from int, seen map[string]bool) ([]Request, error) {
	var out []Request
	for i := from; i+1 < len(chain); i++ {
		cert, err := x509.ParseCertificate(chain[i])
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
		issuer, err := x509.ParseCertificate(chain[i+1])
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		r, err := OCSP(cert, issuer)
		if err != nil {
			return nil, err
		}
		if !seen[r.File] {
			seen[r.File] = true
			out = append(out, r)
		}
	}
	return out, nil
}

// rimCertificate finds the certificates in a RIM's signature.
var rimCertificate = regexp.MustCompile(`(?s)<(?:\w+:)?X509Certificate>([A-Za-z0-9+/=\s]+)</`)

// maxRIMCertificates bounds those that are looked at; real RIMs have four.
const maxRIMCertificates = 8

// ForRIM lists the OCSP responses for the signer of a RIM and those above it.
func ForRIM(document []byte) ([]Request, error) {
	if _, err := nvidia.ParseRIM(document); err != nil {
		return nil, fmt.Errorf("read the RIM: %w", err)
	}
	found := rimCertificate.FindAllSubmatch(document, maxRIMCertificates+1)
	if len(found) > maxRIMCertificates {
		return nil, fmt.Errorf("read the RIM: more than %d certificates", maxRIMCertificates)
	}
	var chain [][]byte
	for _, f := range found {
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(f[1])), ""))
		if err != nil {
			return nil, fmt.Errorf("read the RIM's certificates: %w", err)
		}
		chain = append(chain, der)
	}
	return forChain(chain, 0, map[string]bool{})
}
