package tsm

import (
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// fields are what the guest itself looks at in a report.
type fields struct {
	reportData [64]byte
	hostData   [32]byte
	behind     []byte // what follows hostData in MRCONFIGID
}

func parse(format attest.Format, raw []byte) (fields, error) {
	if format == attest.FormatTDX {
		q, err := tdx.ParseQuote(raw)
		if err != nil {
			return fields{}, fmt.Errorf("read the quote: %w", err)
		}
		return fields{q.Body.ReportData, [32]byte(q.Body.MRConfigID[:32]), q.Body.MRConfigID[32:]}, nil
	}
	r, err := sevsnp.ParseReport(raw)
	if err != nil {
		return fields{}, fmt.Errorf("read the report: %w", err)
	}
	return fields{reportData: r.ReportData, hostData: r.HostData}, nil
}

// certificatesOf takes the certificates out of what the host gave beside a report. A
// quote holds its own. Without the certificate of the report's own key the others
// are of no use.
func certificatesOf(format attest.Format, raw, auxiliary []byte) ([][]byte, error) {
	if format != attest.FormatSEVSNP {
		return nil, nil
	}
	table, err := sevsnp.ParseCertTable(auxiliary)
	if err != nil {
		return nil, fmt.Errorf("read the host's certificates: %w", err)
	}
	own := table.Evidence(raw).VEK
	if len(own) == 0 {
		return nil, nil
	}
	out := [][]byte{own}
	for _, der := range [][]byte{table.ASK, table.ARK} {
		if len(der) > 0 {
			out = append(out, der)
		}
	}
	return out, nil
}
