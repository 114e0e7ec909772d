package engine

import "github.com/casemate-dev/casemate/internal/coordinator/model"

// Wanted returns the enclaves that this state wants or is busy stopping. Any
// other that carries the cluster's id is an orphan. At most two are wanted at a
// time.
func Wanted(s State) []model.EnclaveRef {
	var out []model.EnclaveRef
	if s.Deleted {
		return nil
	}
	if s.Container.Active != nil {
		out = append(out, *s.Container.Active)
	}
	u := s.Update
	if u == nil || u.Status.Ended() {
		return out
	}
	if u.Old != nil && !u.OldGone && (len(out) == 0 || out[0].ID != u.Old.ID) {
		out = append(out, *u.Old)
	}
	if !u.Switched && !u.BootedAt.IsZero() {
		out = append(out, u.New)
	}
	return out
}
