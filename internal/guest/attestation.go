package guest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// Bounds on evidence: a report occupies the security processor for tens of
// milliseconds, and GPUs take seconds.
const (
	maxAttestations     = 4
	attestationDeadline = 20 * time.Second
)

// document has a report made over the nonce, this boot's key and the devices.
func (g *Guest) document(ctx context.Context, nonce [32]byte) ([]byte, error) {
	return Evidence(ctx, g.cfg.Evidence, evidence.Document{
		Nonce: nonce, TLSKeyDigest: g.identity.digest, ConfigDigest: g.cfg.ConfigDigest,
		PlatformDigest: evidence.PlatformDigest(g.cfg.Platform), Insecure: g.marks(),
	})
}

// Evidence has devices and processor report, one after the other, and returns the
// document: doc says over what.
func Evidence(ctx context.Context, hardware EvidenceSource, doc evidence.Document) ([]byte, error) {
	var err error
	if doc.DeviceEvidence, err = hardware.Devices(ctx, doc.Nonce); err != nil {
		return nil, fmt.Errorf("ask the GPUs for evidence: %w", err)
	}
	doc.Format = hardware.Format()
	doc.Report, doc.Certificates, err = hardware.Report(ctx, doc.ReportData())
	if err != nil {
		return nil, fmt.Errorf("ask for a report: %w", err)
	}
	return doc.Encode()
}

// marks says why this enclave protects nothing, if it does not.
func (g *Guest) marks() []string {
	var marks []string
	if g.cfg.Simulated || g.cfg.Evidence.Format() == attest.FormatSimulated {
		marks = append(marks, evidence.MarkSimulated)
	}
	if g.cfg.Platform.GetDebug() {
		marks = append(marks, evidence.MarkDebug)
	}
	return marks
}

func (g *Guest) serveAttestation(w http.ResponseWriter, r *http.Request) {
	nonces := r.URL.Query()[guestapi.NonceParam]
	if len(nonces) != 1 {
		g.refuse(w, refuse(http.StatusBadRequest, guestapi.CodeInvalid, "give one nonce of 64 lower-case hex digits: ?nonce=…"))
		return
	}
	nonce, err := evidence.ParseNonce(nonces[0])
	if err != nil {
		g.refuse(w, refuse(http.StatusBadRequest, guestapi.CodeInvalid, err.Error()))
		return
	}
	select {
	case g.attesting <- struct{}{}:
		defer func() { <-g.attesting }()
	default:
		w.Header().Set("Retry-After", "1")
		g.refuse(w, refuse(http.StatusServiceUnavailable, guestapi.CodeBusy, "evidence is being made for others: try again in a second"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), attestationDeadline)
	defer cancel()
	doc, err := g.document(ctx, nonce)
	if err != nil {
		g.cfg.Log.Error("no evidence", "error", err)
		g.refuse(w, refuse(http.StatusInternalServerError, guestapi.CodeEvidence, guestapi.Clip(err.Error())))
		return
	}
	g.nonces.add(nonce)
	g.answer(w, doc)
}
