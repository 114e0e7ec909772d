package sevsnp_test

import (
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
)

var signers struct {
	sync.Mutex
	made map[sevsnp.Product]*sevsnptest.Signer
}

var (
	born = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

// newSigner returns the test's simulated AMD of a product line; it is made once.
func newSigner(t testing.TB, p sevsnp.Product) *sevsnptest.Signer {
	t.Helper()
	signers.Lock()
	defer signers.Unlock()
	if s := signers.made[p]; s != nil {
		return s
	}
	s, err := sevsnptest.NewSigner(p, born)
	if err != nil {
		t.Fatal(err)
	}
	if signers.made == nil {
		signers.made = map[sevsnp.Product]*sevsnptest.Signer{}
	}
	signers.made[p] = s
	return s
}

// simulated is the policy of a command that looks at simulated evidence.
func simulated() *sevsnp.Policy {
	return &sevsnp.Policy{PermitUnpinned: true, AllowSimulated: true}
}

func TestSyntheticEvidenceOfEveryKindIsAccepted(t *testing.T) {
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
		for _, kind := range []sevsnp.KeyKind{sevsnp.VCEK, sevsnp.VLEK} {
			for version := uint32(2); version <= 5; version++ {
				t.Run(p.String()+" "+kind.String()+" v"+string(rune('0'+version)), func(t *testing.T) {
					s := newSigner(t, p)
					r := s.Report()
					r.Version, r.Signer = version, sevsnp.SignerInfo(kind)<<2
					if version == 2 {
						r.Family, r.Model, r.Stepping = 0, 0, 0
					}
					if version == 5 {
						r.LaunchMitigations, r.CurrentMitigations = 1, 3
					}
					ev, err := s.Sign(r)
					if err != nil {
						t.Fatal(err)
					}
					v := newVerifier(t, s.Roots())
					got := v.Verify(ev, simulated(), noon)
					wantAccepted(t, got)
					if len(got.Insecure) != 1 || got.Insecure[0] != "simulated" {
						t.Errorf("insecure %v, want the mark simulated", got.Insecure)
					}
					wantRefused(t, v.Verify(ev, look(), noon), sevsnp.CheckSimulated)
					ev.Chain = nil
					wantAccepted(t, v.Verify(ev, simulated(), noon))
				})
			}
		}
	}
}

func TestBergamoAndSienaUseGenoasKeys(t *testing.T) {
	s := newSigner(t, sevsnp.Genoa)
	for _, model := range []uint8{0x10, 0x1F, 0xA0, 0xAF} {
		r := s.Report()
		r.Model = model
		ev, err := s.Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		wantAccepted(t, newVerifier(t, s.Roots()).Verify(ev, simulated(), noon))
	}
}

func TestTurinsTCBIsReadInItsOwnLayout(t *testing.T) {
	s := newSigner(t, sevsnp.Turin)
	r := s.Report()
	want := sevsnp.TCB{FMC: 1, Bootloader: 2, TEE: 3, SNP: 4, Microcode: 5}
	r.ReportedTCB = want.Encode(sevsnp.Turin)
	if r.ReportedTCB != [8]byte{1, 2, 3, 4, 0, 0, 0, 5} {
		t.Fatalf("encoded %v, want FMC, bootloader, TEE and SNP first, microcode last", r.ReportedTCB)
	}
	ev, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, s.Roots())
	for _, c := range []struct {
		floor sevsnp.TCB
		ok    bool
	}{
		{want, true},
		{sevsnp.TCB{FMC: 2}, false}, {sevsnp.TCB{Bootloader: 3}, false}, {sevsnp.TCB{TEE: 4}, false},
		{sevsnp.TCB{SNP: 5}, false}, {sevsnp.TCB{Microcode: 6}, false},
	} {
		p := simulated()
		p.MinimumTCB = &c.floor
		got := v.Verify(ev, p, noon)
		if got.Accepted != c.ok {
			t.Errorf("floor %+v: accepted %v, want %v", c.floor, got.Accepted, c.ok)
		}
		if !c.ok {
			wantRefused(t, got, sevsnp.CheckTCBFloor)
		}
	}
	if got := v.Verify(ev, simulated(), noon).Claims["reported_tcb"]; got != want {
		t.Errorf("claims %+v, want %+v", got, want)
	}
}

func TestMilanHasNoFMC(t *testing.T) {
	s := newSigner(t, sevsnp.Milan)
	ev, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	p := simulated()
	p.MinimumTCB = &sevsnp.TCB{FMC: 1}
	wantRefused(t, newVerifier(t, s.Roots()).Verify(ev, p, noon), sevsnp.CheckTCBFloor)
}
