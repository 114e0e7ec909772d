package collateral

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// PCKCA is one of Intel's two authorities over PCK certificates, in the PCS' words.
type PCKCA string

// The authorities: of platforms with several packages, and of all others.
const (
	Platform  PCKCA = "platform"
	Processor PCKCA = "processor"
)

// ForPlatform lists what judges a TDX platform's TCB (PCS v4): TCB info of its
// FMSPC, the TD QE's identity, and the revocation lists of its PCK authority and of
// Intel's root. A cache keeps them in one folder, as `attest verify --collateral`
// takes it.
func ForPlatform(fmspc [6]byte, ca PCKCA) ([]Request, error) {
	if ca != Platform && ca != Processor {
		return nil, fmt.Errorf("PCK authority %.20q is neither %s nor %s", ca, Platform, Processor)
	}
	id := hex.EncodeToString(fmspc[:])
	folder := "intel/" + id + "-" + string(ca) + "/"
	return []Request{
		{Kind: IntelTCBInfo, Service: IntelPCS, Path: "/tdx/certification/v4/tcb?fmspc=" + id, File: folder + "tcb_info.json", id: id},
		{Kind: IntelQEIdentity, Service: IntelPCS, Path: "/tdx/certification/v4/qe/identity", File: folder + "qe_identity.json"},
		{Kind: IntelPCKCRL, Service: IntelPCS, Path: "/sgx/certification/v4/pckcrl?ca=" + string(ca) + "&encoding=der", File: folder + "pck.crl"},
		{Kind: IntelRootCRL, Service: IntelRoots, Path: "/IntelSGXRootCA.der", File: folder + "root.crl"},
	}, nil
}

// chainName is the file of the issuer chain beside a document: tcb_info_chain.pem.
func chainName(file string) string {
	return strings.TrimSuffix(strings.ReplaceAll(file, "pck.crl", "pck_crl.crl"), path.Ext(file)) + "_chain.pem"
}

// ForQuote lists what is needed to verify a quote; nothing in it is believed.
func ForQuote(raw []byte) ([]Request, error) {
	q, err := tdx.ParseQuote(raw)
	if err != nil {
		return nil, fmt.Errorf("read the quote: %w", err)
	}
	block, _ := pem.Decode(q.PCKChain)
	if block == nil {
		return nil, errors.New("read the quote: its PCK chain is no PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the quote's PCK certificate: %w", err)
	}
	ext, err := tdx.ParsePCKExtensions(leaf)
	if err != nil {
		return nil, fmt.Errorf("read the quote's PCK certificate: %w", err)
	}
	// Names from Intel's PCK certificate profile, section 1.3.
	ca := map[string]PCKCA{
		"Intel SGX PCK Platform CA":  Platform,
		"Intel SGX PCK Processor CA": Processor,
	}[leaf.Issuer.CommonName]
	if ca == "" {
		return nil, fmt.Errorf("the quote's PCK certificate is issued by %.80q, no authority of Intel's", leaf.Issuer.CommonName)
	}
	return ForPlatform(ext.FMSPC, ca)
}
