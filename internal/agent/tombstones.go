package agent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/agent/records"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// Bounds on what is remembered of enclaves that are no more.
const (
	// maxRecords bounds the records of a host, tombstones among them.
	maxRecords = 10_000
	// tombstoneAge is how long a tombstone is kept at least: a CreateEnclave that
	// comes later than this was not merely late.
	tombstoneAge = 24 * time.Hour
)

// makeRoom makes room for one more record by dropping the oldest tombstone that
// has had its day.
func (a *Agent) makeRoom() error {
	if a.board.len() < maxRecords {
		return nil
	}
	all := a.board.list("")
	tombs := slices.DeleteFunc(all, func(e *agentv1.Enclave) bool { return e.GetSpec() != nil || e.GetClaimed() })
	if len(tombs) > 0 {
		oldest := slices.MinFunc(tombs, func(x, y *agentv1.Enclave) int {
			return cmp.Compare(x.GetCreateTime().AsTime().UnixNano(), y.GetCreateTime().AsTime().UnixNano())
		})
		if a.cfg.Now().Sub(oldest.GetCreateTime().AsTime()) > tombstoneAge {
			if err := a.records.Delete(oldest.GetId()); err != nil {
				return unwritten(err)
			}
			a.board.remove(oldest.GetId())
			return nil
		}
	}
	return rpc.Error(codes.ResourceExhausted, ReasonTooMany,
		fmt.Sprintf("this host keeps %d records already: delete enclaves that have ended", maxRecords))
}

// bury records an unknown enclave as stopped, so that it can't be created later.
func (a *Agent) bury(cluster, id, why string) (*agentv1.Enclave, error) {
	if err := a.makeRoom(); err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	rec := records.Record{
		ID: id, ClusterID: cluster, State: agentv1.EnclaveState_ENCLAVE_STATE_STOPPED,
		Reason: ReasonStoppedEarly, Text: "it was stopped before it was created", Created: now, Changed: now,
	}
	if why != "" {
		rec.Text += ": " + why
	}
	if err := a.records.Put(rec); err != nil {
		return nil, unwritten(err)
	}
	a.cfg.Log.Info("enclave stopped before it was created", "enclave", id, "cluster", cluster)
	return newMonitor(a, rec, false).publish(), nil
}
