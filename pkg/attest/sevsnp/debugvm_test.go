package sevsnp_test

import (
	"strings"
	"testing"

	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// go-sev-guest carries a real Milan report of a guest that was launched with
// debugging on: genuine, and refused for that alone.
func TestARealDebugGuestIsRefusedForDebugging(t *testing.T) {
	ev := sevsnp.Evidence{Report: testdata.AttestationBytes, VEK: testdata.VcekBytes, Chain: trust.AskArkMilanVcekBytes}
	v := newVerifier(t, nil)
	at := day(t, "2026-11-01")
	wantRefused(t, v.Verify(ev, look(), at), sevsnp.CheckDebugOff)
	wantRefused(t, v.Verify(ev, look(), day(t, "2029-10-01")), sevsnp.CheckCertificateValidity)
	p := look()
	p.AllowDebug = true
	got := v.Verify(ev, p, at)
	wantAccepted(t, got)
	if strings.Join(got.Insecure, " ") != "debug" {
		t.Errorf("insecure %v, want the mark debug", got.Insecure)
	}
}
