package sevsnp_test

import (
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

func signed(t *testing.T, p sevsnp.Product) sevsnp.Evidence {
	t.Helper()
	s := newSigner(t, p)
	ev, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func smallVerifier(t *testing.T, size int) *sevsnp.Verifier {
	t.Helper()
	v, err := sevsnp.NewVerifier(sevsnp.Config{Roots: newSigner(t, sevsnp.Milan).Roots(), CacheSize: size})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCacheIsBounded(t *testing.T) {
	v := smallVerifier(t, 3)
	for range 10 {
		wantAccepted(t, v.Verify(signed(t, sevsnp.Milan), simulated(), noon)) // each has a new certificate
		if n := v.CachedChains(); n > 3 {
			t.Fatalf("%d chains cached, want at most 3", n)
		}
	}
	off := smallVerifier(t, -1)
	wantAccepted(t, off.Verify(signed(t, sevsnp.Milan), simulated(), noon))
	if n := off.CachedChains(); n != 0 {
		t.Errorf("%d chains cached by a verifier without a cache", n)
	}
}

func TestCacheDropsAChainWhenItsShortestPartEnds(t *testing.T) {
	v := smallVerifier(t, 8)
	ev := signed(t, sevsnp.Milan)
	withCRL(born, noon.Add(time.Hour))(t, newSigner(t, sevsnp.Milan), &ev)
	wantAccepted(t, v.Verify(ev, simulated(), noon))
	if v.CachedChains() != 1 {
		t.Fatalf("%d chains cached, want 1", v.CachedChains())
	}
	wantRefused(t, v.Verify(ev, simulated(), noon.Add(2*time.Hour)), sevsnp.CheckRevocation)
	if v.CachedChains() != 0 {
		t.Errorf("%d chains cached after the list's end, want none", v.CachedChains())
	}
}

func TestANewerListDropsWhatAnOlderOneLetThrough(t *testing.T) {
	v := smallVerifier(t, 8)
	s := newSigner(t, sevsnp.Milan)
	without, older, newer, revoked := signed(t, sevsnp.Milan), signed(t, sevsnp.Milan), signed(t, sevsnp.Milan), signed(t, sevsnp.Milan)
	withCRL(born, noon.AddDate(1, 0, 0))(t, s, &older)
	withCRL(born.Add(time.Hour), noon.AddDate(1, 0, 0))(t, s, &newer)
	withCRL(born.Add(2*time.Hour), noon.AddDate(1, 0, 0), 2)(t, s, &revoked)
	wantAccepted(t, v.Verify(without, simulated(), noon))
	wantAccepted(t, v.Verify(older, simulated(), noon))
	if v.CachedChains() != 1 {
		t.Errorf("%d chains cached, want only the one with a list", v.CachedChains())
	}
	wantAccepted(t, v.Verify(newer, simulated(), noon))
	if v.CachedChains() != 1 {
		t.Errorf("%d chains cached, want only the one with the newer list", v.CachedChains())
	}
	wantRefused(t, v.Verify(revoked, simulated(), noon), sevsnp.CheckRevocation)
	if v.CachedChains() != 0 {
		t.Errorf("%d chains cached after a newer list revoked their ASK, want none", v.CachedChains())
	}
}

func TestACachedChainDoesNotVouchForAnotherReport(t *testing.T) {
	v := smallVerifier(t, 8)
	ev := signed(t, sevsnp.Milan)
	wantAccepted(t, v.Verify(ev, simulated(), noon))
	ev.Report = append([]byte(nil), ev.Report...)
	ev.Report[0x50] ^= 1
	wantRefused(t, v.Verify(ev, simulated(), noon), sevsnp.CheckReportSignature)
}

func TestAVerifierIsSafeForConcurrentUse(t *testing.T) {
	v := smallVerifier(t, 2)
	evs := []sevsnp.Evidence{signed(t, sevsnp.Milan), signed(t, sevsnp.Milan), signed(t, sevsnp.Milan)}
	done := make(chan bool)
	for i := range 6 {
		go func() {
			ok := true
			for k := range 5 {
				ok = ok && v.Verify(evs[(i+k)%len(evs)], simulated(), noon).Accepted
			}
			done <- ok
		}()
	}
	for range 6 {
		if !<-done {
			t.Error("refused under concurrent use")
		}
	}
}

func TestTheClockIsAskedOnlyIfNoTimeIsGiven(t *testing.T) {
	roots := newSigner(t, sevsnp.Milan).Roots()
	v, err := sevsnp.NewVerifier(sevsnp.Config{Roots: roots, Clock: func() time.Time { return born.AddDate(20, 0, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	ev := signed(t, sevsnp.Milan)
	wantAccepted(t, v.Verify(ev, simulated(), noon))
	wantRefused(t, v.Verify(ev, simulated(), time.Time{}), sevsnp.CheckCertificateValidity)
}
