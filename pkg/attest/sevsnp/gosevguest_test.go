package sevsnp_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	sgtest "github.com/google/go-sev-guest/testing"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// Evidence under go-sev-guest's own test chain is accepted: its certificates have the
// hardware id as an OCTET STRING, and its signer is not ours.
func TestEvidenceOfGoSevGuestsTestSignerIsAccepted(t *testing.T) {
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		product string
		version uint32
		fms     uint32
		kind    abi.ReportSigner
	}{
		"Milan VCEK v2": {"Milan-B1", 2, 0, abi.VcekReportSigner},
		"Milan VLEK v2": {"Milan-B1", 2, 0, abi.VlekReportSigner},
		"Milan VCEK v3": {"Milan-B1", 3, 0x00a00f11, abi.VcekReportSigner},
		"Genoa VCEK v5": {"Genoa-B1", 5, 0x00a10f11, abi.VcekReportSigner},
		"Genoa VLEK v3": {"Genoa-B1", 3, 0x00a10f11, abi.VlekReportSigner},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := sgtest.DefaultTestOnlyCertChain(c.product, made)
			if err != nil {
				t.Fatal(err)
			}
			page := sgtest.CreateRawReport(&sgtest.TestReportOptions{
				ReportData: make([]byte, 64), Version: c.version, FMS: c.fms, SignerInfo: abi.SignerInfo{SigningKey: c.kind},
			})
			raw := page[:sevsnp.ReportSize]
			binary.LittleEndian.PutUint64(raw[8:], 0x20000) // theirs has debugging on
			r, s, err := signer.Sign(raw[:0x2A0])
			if err != nil {
				t.Fatal(err)
			}
			if err := abi.SetSignature(r, s, raw); err != nil {
				t.Fatal(err)
			}
			ev := sevsnp.Evidence{Report: raw, VEK: signer.Vcek.Raw, Chain: append(signer.Ask.Raw, signer.Ark.Raw...)}
			if c.kind == abi.VlekReportSigner {
				ev.VEK, ev.Chain = signer.Vlek.Raw, signer.Asvk.Raw
			}
			roots, err := sevsnp.ParseRoots(signer.Ark.Raw)
			if err != nil {
				t.Fatal(err)
			}
			got := newVerifier(t, roots).Verify(ev, look(), made.AddDate(1, 0, 0))
			wantAccepted(t, got)
			if len(got.Insecure) != 0 {
				t.Errorf("insecure %v, want none for a root that isn't marked", got.Insecure)
			}
		})
	}
}
