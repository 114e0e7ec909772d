package tdxtest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// Collateral is what the PKI publishes of its platforms, before it is signed.
// [NewCollateral] fills it so that the default platform is up to date.
type Collateral struct {
	TCBInfo    map[string]any // the member tcbInfo
	QEIdentity map[string]any // the member enclaveIdentity
	// RevokedPCK and RevokedByRoot are the serial numbers the two lists name.
	RevokedPCK, RevokedByRoot []*big.Int
	// ThisUpdate and NextUpdate are those of both lists.
	ThisUpdate, NextUpdate time.Time
}

// NewCollateral returns collateral for the default platform, issued an hour
// before the given time and valid for 30 days.
func NewCollateral(at time.Time) *Collateral {
	from, until := at.Add(-time.Hour).UTC(), at.Add(30*24*time.Hour).UTC()
	dates := func(m map[string]any) map[string]any {
		m["issueDate"], m["nextUpdate"] = from.Format(time.RFC3339), until.Format(time.RFC3339)
		m["tcbEvaluationDataNumber"] = 17
		return m
	}
	return &Collateral{
		ThisUpdate: from, NextUpdate: until,
		TCBInfo: dates(map[string]any{
			"id": "TDX", "version": 3, "fmspc": "B0C06F000000", "pceId": "0000", "tcbType": 0,
			"tdxModule": Module(""),
			"tdxModuleIdentities": []any{
				Module("TDX_01", ISVLevel(4, tdx.UpToDate), ISVLevel(2, tdx.OutOfDate)),
			},
			"tcbLevels": []any{
				Level([16]byte{3, 3, 2, 2, 4, 1, 0, 5}, 11, [16]byte{5, 0, 3}, tdx.UpToDate),
				Level([16]byte{2, 2, 2, 2, 3, 1, 0, 5}, 5, [16]byte{3, 0, 2}, tdx.OutOfDate),
			},
		}),
		QEIdentity: dates(map[string]any{
			"id": "TD_QE", "version": 2, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
			"attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
			"mrsigner": strings.ToUpper(intelQEMRSigner), "isvprodid": 2,
			"tcbLevels": []any{ISVLevel(4, tdx.UpToDate), ISVLevel(1, tdx.OutOfDate)},
		}),
	}
}

// Module is a TDX module identity; without an id, that of version 0.
func Module(id string, levels ...any) map[string]any {
	m := map[string]any{
		"mrsigner": strings.Repeat("0", 96), "attributes": strings.Repeat("0", 16),
		"attributesMask": strings.Repeat("F", 16),
	}
	if id != "" {
		m["id"], m["tcbLevels"] = id, levels
	}
	return m
}

// Level is a platform's TCB level.
func Level(sgx [16]byte, pcesvn int, tdxSVN [16]byte, status tdx.Status) map[string]any {
	return map[string]any{
		"tcb":     map[string]any{"sgxtcbcomponents": components(sgx), "pcesvn": pcesvn, "tdxtcbcomponents": components(tdxSVN)},
		"tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": status, "advisoryIDs": advisories(status),
	}
}

// ISVLevel is a TCB level of a TDX module or a quoting enclave.
func ISVLevel(svn int, status tdx.Status) map[string]any {
	return map[string]any{
		"tcb": map[string]any{"isvsvn": svn}, "tcbDate": "2024-03-13T00:00:00Z",
		"tcbStatus": status, "advisoryIDs": advisories(status),
	}
}

func advisories(status tdx.Status) []string {
	if status == tdx.UpToDate {
		return nil
	}
	return []string{"INTEL-SA-00000"}
}

func components(svns [16]byte) []any {
	var out []any
	for _, s := range svns {
		out = append(out, map[string]any{"svn": s})
	}
	return out
}

// Collateral signs collateral, with all issuer chains.
func (p *PKI) Collateral(c *Collateral) (*tdx.Collateral, error) {
	out := &tdx.Collateral{
		TCBInfoChain:    ChainPEM(p.TCBSigning.Cert, p.Root.Cert),
		QEIdentityChain: ChainPEM(p.TCBSigning.Cert, p.Root.Cert),
		PCKCRLChain:     ChainPEM(p.PCKCA.Cert, p.Root.Cert),
	}
	var err error
	if out.TCBInfo, err = p.SignDocument("tcbInfo", c.TCBInfo); err != nil {
		return nil, err
	}
	if out.QEIdentity, err = p.SignDocument("enclaveIdentity", c.QEIdentity); err != nil {
		return nil, err
	}
	if out.PCKCRL, err = c.crl(p.PCKCA, c.RevokedPCK); err != nil {
		return nil, err
	}
	out.RootCRL, err = c.crl(p.Root, c.RevokedByRoot)
	return out, err
}

// SignDocument encodes a document as the PCS does, signed by the TCB signing key.
func (p *PKI) SignDocument(member string, doc any) ([]byte, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", member, err)
	}
	sig, err := SignRaw(p.TCBSigning.Key, body)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{%q:%s,"signature":%q}`, member, body, hex.EncodeToString(sig)), nil
}

func (c *Collateral) crl(by *Authority, serials []*big.Int) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: c.ThisUpdate, NextUpdate: c.NextUpdate, SignatureAlgorithm: x509.ECDSAWithSHA256}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: c.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, by.Cert, by.Key)
	if err != nil {
		return nil, fmt.Errorf("issue revocation list: %w", err)
	}
	return der, nil
}
