package records

import (
	"fmt"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
)

func TestARecordIsDecodedOnceForEachRevision(t *testing.T) {
	r := fresh(t)
	created(t, r)
	first, second := loaded(t, r), loaded(t, r)
	if first.Container == second.Container || first.Update == second.Update {
		t.Error("two readers were given the same record")
	}
	if &first.Update.History[0] != &second.Update.History[0] {
		t.Error("what did not change was decoded twice")
	}
	save(t, r, second, func(s *engine.State) { s.Container.Text = "changed" })
	if got := loaded(t, r); got.Container.Text != "changed" {
		t.Errorf("after the change: %q", got.Container.Text)
	}
	if first.Container.Text == "changed" {
		t.Error("what was read before has changed")
	}
	if err := r.CheckShared(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestWhatOthersWroteIsRead: another process may write between two reads.
func TestWhatOthersWroteIsRead(t *testing.T) {
	r := fresh(t)
	created(t, r)
	loaded(t, r)
	op, err := Put(Containers, ContainerKey(api), *container("api", "api.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Txn(t.Context(), nil, []store.Op{op}); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, r); got.Update != nil || got.Container.Updates != 0 {
		t.Errorf("read %+v, want what was written last", got.Container)
	}
}

func TestAReaderThatChangesWhatIsSharedIsFound(t *testing.T) {
	r := fresh(t)
	created(t, r)
	loaded(t, r).Update.History[0].Note = "mine"
	if err := r.CheckShared(t.Context()); err == nil || !strings.Contains(err.Error(), "changed by a reader") {
		t.Errorf("got %v, want that a reader changed the record", err)
	}
}

func TestDecodedValuesAreBounded(t *testing.T) {
	var d decoded
	for i := range 10 * decodedPerGeneration {
		d.put(fmt.Sprint(i), decodedValue{1, i, 100})
		if _, ok := d.get("0", 1); !ok {
			t.Fatalf("what is read again and again was dropped after %d others", i)
		}
	}
	if n := len(d.young) + len(d.old); n > 2*decodedPerGeneration {
		t.Errorf("%d values are kept, want at most %d", n, 2*decodedPerGeneration)
	}
	if _, ok := d.get("1", 1); ok {
		t.Error("what nobody reads is kept")
	}
	if _, ok := d.get("0", 2); ok {
		t.Error("another revision was given")
	}
}

func TestDecodedValuesAreBoundedBySizeToo(t *testing.T) {
	var d decoded
	for i := range 1000 {
		d.put(fmt.Sprint(i), decodedValue{1, i, 1 << 20})
		d.put("again", decodedValue{int64(i), i, 1 << 20})
	}
	bytes := 0
	for _, values := range []map[string]decodedValue{d.young, d.old} {
		for _, v := range values {
			bytes += v.bytes
		}
	}
	if bytes > 2*decodedBytes || bytes < decodedBytes {
		t.Errorf("%d bytes are kept, want %d to twice as many", bytes, decodedBytes)
	}
}

func TestReservationsThatDidNotChangeAreNotWritten(t *testing.T) {
	r := fresh(t)
	l := created(t, r)
	key := reservationKey(l.Reservations["e1"])
	was, err := r.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	out := save(t, r, l, func(s *engine.State) { s.Container.Text = "changed" })
	if now, err := r.store.Get(t.Context(), key); err != nil || now.ModRevision != was.ModRevision {
		t.Errorf("the reservation went from revision %d to %d, %v", was.ModRevision, now.ModRevision, err)
	}
	save(t, r, out, func(s *engine.State) {
		s.Reservations = map[string]model.Reservation{"e1": {Enclave: "e1", Host: "h1", Org: "acme", Container: "api"}}
	})
	if now, err := r.store.Get(t.Context(), key); err != nil || now.ModRevision == was.ModRevision {
		t.Errorf("a reservation that changed was not written: %v", err)
	}
}
