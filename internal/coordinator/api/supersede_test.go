package api

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
	"github.com/casemate-dev/casemate/internal/coordinator/records"
	"github.com/casemate-dev/casemate/internal/rpc"
	"github.com/casemate-dev/casemate/internal/store"
	"github.com/casemate-dev/casemate/internal/store/memory"
)

// TestSupersedingWaitsForWhatItCancelledOnly: while it waits somebody else may
// start an update, which it did not cancel and which may be held for a day.
func TestSupersedingWaitsForWhatItCancelledOnly(t *testing.T) {
	synctest.Test(t, supersedingWaits)
}

func supersedingWaits(t *testing.T) {
	rec, err := records.Open(t.Context(), memory.New(memory.Config{}), func() string { return "cl" })
	if err != nil {
		t.Fatal(err)
	}
	k := model.ContainerKey{Org: "acme", Name: "api"}
	op, err := records.Put(records.Containers, records.ContainerKey(k), model.Container{Org: k.Org, Name: k.Name, Update: "api-u2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Commit(t.Context(), nil, []store.Op{op}); err != nil {
		t.Fatal(err)
	}
	s := &updateService{Server: &Server{cfg: Config{Records: rec}}}
	if err := s.awaitEnd(t.Context(), k, "api-u1"); err != nil {
		t.Errorf("the update that was cancelled has ended, another is in progress: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.awaitEnd(ctx, k, "api-u2"); rpc.Reason(err) != "STILL_ENDING" {
		t.Errorf("the update has not ended: %v, want STILL_ENDING", err)
	}
}
