package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// machine drives a ledger and a model of it, with power cuts at any call that
// writes. The model is what was acknowledged; at a power cut, the one
// operation in flight may have happened or not.
type machine struct {
	fs       *memFS
	ledger   *Ledger
	boot     int
	model    map[string]Claim
	enclaves []string
}

func newMachine(t *rapid.T) *machine {
	m := &machine{fs: newMemFS(), model: map[string]Claim{}, enclaves: []string{"a", "b", "c", "d"}}
	m.reopen(t)
	return m
}

// reopen starts a new process, which finds exactly the model's enclaves.
func (m *machine) reopen(t *rapid.T) {
	cfg := config(fmt.Sprintf("boot-%d", m.boot))
	cfg.FS = m.fs
	l, err := Open("/ledger", cfg)
	if err != nil {
		t.Fatalf("reopen: %v", err)
	}
	m.ledger = l
}

// found lists the model's claims as a backend would.
func (m *machine) found() []Observed {
	var all []Observed
	for _, c := range m.model {
		all = append(all, Observed{EnclaveID: c.EnclaveID, SpecDigest: c.SpecDigest, ClusterID: c.ClusterID,
			GPUs: c.GPUs, Switches: c.Switches, CPUs: c.CPUs, MemoryMiB: c.MemoryMiB})
	}
	return all
}

// do runs one operation, perhaps into a power cut, and checks the outcome.
// After is the model if the operation succeeds.
func (m *machine) do(t *rapid.T, after map[string]Claim, op func() error) {
	if rapid.IntRange(0, 2).Draw(t, "power cut") == 0 {
		m.fs.cutAt = m.fs.writes + rapid.IntRange(1, 7).Draw(t, "at call")
		m.fs.keepAll = rapid.Bool().Draw(t, "nothing lost")
	}
	err := op()
	if !m.fs.cut {
		m.fs.cutAt = 0
		if err == nil {
			m.model = after
		}
		m.check(t)
		return
	}
	if !errors.Is(err, errCrash) && err != nil {
		t.Fatalf("operation during the cut: %v", err)
	}
	m.recover(t, after, err == nil)
}

// recover restarts the machine and finds out which of two models holds.
func (m *machine) recover(t *rapid.T, after map[string]Claim, acknowledged bool) {
	m.fs.restart()
	m.reopen(t)
	claims, err := m.ledger.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case same(claims, after):
		m.model = after
	case acknowledged || !same(claims, m.model):
		t.Fatalf("after the cut the ledger has %v;\nbefore %v,\nafter %v (acknowledged: %v)", claims, m.model, after, acknowledged)
	}
	if v, err := m.ledger.View(t.Context()); err != nil || len(v.Conditions) > 0 {
		t.Fatalf("a power cut damaged the ledger: %+v, %v", v.Conditions, err)
	}
	if _, err := m.ledger.Reconcile(t.Context(), m.found()); err != nil {
		t.Fatal(err)
	}
	m.check(t)
}

// same compares claims with a model, boots aside.
func same(claims []Claim, model map[string]Claim) bool {
	if len(claims) != len(model) {
		return false
	}
	for _, c := range claims {
		want, ok := model[c.EnclaveID]
		if !ok || !cmp.Equal(want, c, cmpopts.IgnoreFields(Claim{}, "BootID"), cmpopts.EquateEmpty()) {
			return false
		}
	}
	return true
}

// check compares the running ledger with the model.
func (m *machine) check(t *rapid.T) {
	v, err := m.ledger.View(t.Context())
	if err != nil || !same(v.Claims, m.model) {
		t.Fatalf("ledger %v, %v;\nmodel %v", v.Claims, err, m.model)
	}
	held := gpu.Held{}
	for _, c := range m.model {
		for _, b := range c.Cards() {
			if other, ok := held[b]; ok {
				t.Fatalf("card %s is held by %s and %s", b, other, c.EnclaveID)
			}
			held[b] = c.EnclaveID
		}
	}
	if !cmp.Equal(held, v.Held) {
		t.Fatalf("held %v, want %v", v.Held, held)
	}
}

// with returns the model after one claim was set, or removed if c is nil.
func (m *machine) with(id string, c *Claim) map[string]Claim {
	next := map[string]Claim{}
	maps.Copy(next, m.model)
	delete(next, id)
	if c != nil {
		next[id] = *c
	}
	return next
}

func (m *machine) claim(t *rapid.T) {
	id := rapid.SampledFrom(m.enclaves).Draw(t, "enclave")
	n := rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 3, rapid.ID).Draw(t, "cards")
	slices.Sort(n)
	r := request(id, n...)
	_, exists := m.model[id]
	free := true
	for _, c := range m.model {
		for _, b := range r.GPUs {
			free = free && !slices.Contains(c.GPUs, b)
		}
	}
	after := m.model
	if !exists && free {
		after = m.with(id, &Claim{EnclaveID: id, SpecDigest: r.SpecDigest, ClusterID: r.ClusterID, GPUs: r.GPUs,
			CPUs: r.CPUs, MemoryMiB: r.MemoryMiB, Phase: PhaseClaimed, Since: start})
	}
	m.do(t, after, func() error {
		_, err := m.ledger.Claim(t.Context(), r)
		if !exists && !free && !errors.Is(err, ErrHeld) {
			t.Fatalf("claim of a held card: %v", err)
		}
		if exists && errors.Is(err, ErrReleasing) || errors.Is(err, ErrHeld) {
			return nil
		}
		return err
	})
}

func (m *machine) advance(t *rapid.T) {
	id := rapid.SampledFrom(m.enclaves).Draw(t, "enclave")
	phase := rapid.SampledFrom([]Phase{PhaseActive, PhaseReleasing}).Draw(t, "phase")
	c, exists := m.model[id]
	after := m.model
	if exists && c.Phase != PhaseReleasing {
		c.Phase = phase
		after = m.with(id, &c)
	}
	m.do(t, after, func() error {
		call := map[Phase]func() error{
			PhaseActive:    func() error { return m.ledger.Activate(t.Context(), id) },
			PhaseReleasing: func() error { return m.ledger.BeginRelease(t.Context(), id) },
		}[phase]
		return without(call(), ErrNotFound, ErrReleasing)
	})
}

func (m *machine) release(t *rapid.T) {
	id := rapid.SampledFrom(m.enclaves).Draw(t, "enclave")
	m.do(t, m.with(id, nil), func() error { return without(m.ledger.Release(t.Context(), id), ErrNotFound) })
}

func (m *machine) reboot(t *rapid.T) {
	m.boot++
	m.fs.restart()
	m.reopen(t)
	m.do(t, m.model, func() error { _, err := m.ledger.Reconcile(t.Context(), m.found()); return err })
}

// without turns the errors that an operation may rightly give into success.
func without(err error, allowed ...error) error {
	for _, a := range allowed {
		if errors.Is(err, a) {
			return nil
		}
	}
	return err
}

func TestNoPowerCutLosesOrInventsAClaim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		if _, err := m.ledger.Reconcile(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"claim": m.claim, "advance": m.advance, "release": m.release, "reboot": m.reboot,
		})
	})
}

func TestEveryWritePointOfAClaimIsSafe(t *testing.T) {
	for cut := 1; ; cut++ {
		fs := newMemFS()
		cfg := config("b")
		cfg.FS = fs
		l, err := Open("/ledger", cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reconcile(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		fs.cutAt = fs.writes + cut
		_, err = l.Claim(t.Context(), request("a", 0))
		if !fs.cut {
			if cut < 6 || err != nil {
				t.Fatalf("a claim made %d writes: %v", cut-1, err)
			}
			return
		}
		if err == nil {
			t.Fatalf("cut at write %d: acknowledged", cut)
		}
		fs.restart()
		if l, err = Open("/ledger", cfg); err != nil {
			t.Fatalf("cut at write %d: %v", cut, err)
		}
		v := view(t, l)
		if len(v.Claims) > 1 || len(v.Conditions) > 0 {
			t.Fatalf("cut at write %d: %+v", cut, v)
		}
	}
}
