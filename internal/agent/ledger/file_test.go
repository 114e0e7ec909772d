package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// example is the content of a ledger with a claim and a quarantined card.
func example(tb testing.TB) []byte {
	tb.Helper()
	s := newState()
	s.claims["a-r1-1"] = Claim{EnclaveID: "a-r1-1", SpecDigest: "sha256:a", GPUs: []gpu.BDF{card(0)},
		CPUs: 4, Phase: PhaseActive, BootID: "boot-1", Since: start}
	s.quarantine[card(3)] = quarantine{BDF: card(3), Why: "Xid 79", Since: start}
	content, err := encode(s)
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

// sealed wraps a body of any kind with its right digest.
func sealed(tb testing.TB, claims map[string]Claim) []byte {
	tb.Helper()
	content, err := encode(state{claims: claims})
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

func TestDamagedFilesAreNotBelieved(t *testing.T) {
	good := example(t)
	if _, err := decode(good); err != nil {
		t.Fatal(err)
	}
	a := Claim{EnclaveID: "a", SpecDigest: "s", GPUs: []gpu.BDF{card(0)}, Phase: PhaseActive}
	b, odd, bad := a, a, a
	b.EnclaveID, odd.Phase, bad.GPUs = "b", "sleeping", []gpu.BDF{"17:00.0"}
	for name, content := range map[string][]byte{
		"empty":                 nil,
		"cut short":             good[:len(good)-20],
		"no JSON":               []byte("claims:\n"),
		"another version":       bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
		"one digit changed":     bytes.Replace(good, []byte("0000:10:00.0"), []byte("0000:11:00.0"), 1),
		"a blank added":         append([]byte(" "), good...),
		"an unknown member":     bytes.Replace(good, []byte(`{"version"`), []byte(`{"x":1,"version"`), 1),
		"more after the end":    append(bytes.Clone(good), good...),
		"a card with two":       sealed(t, map[string]Claim{"a": a, "b": b}),
		"an unknown phase":      sealed(t, map[string]Claim{"a": odd}),
		"an address not one":    sealed(t, map[string]Claim{"a": bad}),
		"an enclave without id": sealed(t, map[string]Claim{"": {}}),
	} {
		if s, err := decode(content); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: read as %+v, %v; want ErrCorrupt", name, s, err)
		}
	}
}

func TestADamagedLedgerIsSetAsideReportedAndRebuilt(t *testing.T) {
	dir := t.TempDir()
	damaged := example(t)[1:]
	if err := os.WriteFile(filepath.Join(dir, fileName), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a crash before the ledger is reconciled changes nothing
		l, err := Open(dir, config("boot-1"))
		if err != nil {
			t.Fatal(err)
		}
		v := view(t, l)
		if len(v.Conditions) != 1 || v.Conditions[0].Code != "ledger-corrupt" || v.Reconciled {
			t.Fatalf("view %+v", v)
		}
		if _, err := l.Claim(t.Context(), request("b-r1-1", 1)); !errors.Is(err, ErrNotReconciled) {
			t.Fatalf("claim: %v", err)
		}
		shut(t, l)
	}
	aside, err := filepath.Glob(filepath.Join(dir, "*.corrupt-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, damaged) {
		t.Errorf("what was set aside differs: %v", err)
	}
	l := open(t, dir, config("boot-1"), running(request("a-r1-1", 0)))
	if held := view(t, l).Held; held[card(0)] != "a-r1-1" {
		t.Errorf("rebuilt ledger holds %v", held)
	}
	shut(t, l)
	l = open(t, dir, config("boot-1"), running(request("a-r1-1", 0)))
	if v := view(t, l); len(v.Conditions) != 0 {
		t.Errorf("conditions %v after the rebuild", v.Conditions)
	}
}

func TestReasonsFromOutsideAreCutToSize(t *testing.T) {
	if got := bounded(strings.Repeat("é", 2000)); len([]rune(got)) != maxText {
		t.Errorf("%d runes", len([]rune(got)))
	}
	l := open(t, t.TempDir(), config("b"))
	if err := l.Quarantine(t.Context(), card(0), "\xff\xfe"+strings.Repeat("x", 100000)); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(example(f))
	f.Add([]byte(`{"version":1,"sha256":"","body":{}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := decode(content)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := encode(s)
		if err != nil || !bytes.Equal(content, again) {
			t.Fatalf("accepted, but not canonical: %v", err)
		}
	})
}
