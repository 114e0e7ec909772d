package records

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/store"
)

func TestMachinesAreNotedOfHostsOnRecordOnly(t *testing.T) {
	r := fresh(t)
	m := model.Machine{Incarnation: "first", Anew: t0}
	if err := r.NoteMachine(t.Context(), "h1", m); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a machine was noted of a host that nobody has added: %v", err)
	}
	h := model.Host{Name: "h1", Address: "10.0.0.1:7443", Created: t0}
	op, err := Put(Hosts, HostKey("h1"), h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Commit(t.Context(), nil, []store.Op{op}); err != nil {
		t.Fatal(err)
	}
	if err := r.NoteMachine(t.Context(), "h1", m); err != nil {
		t.Fatal(err)
	}
	hosts, machines, err := r.Followed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]model.Host{h}, hosts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]model.Machine{"h1": m}, machines); diff != "" {
		t.Error(diff)
	}
}
