package model

import "time"

// Machine is what the coordinator has found out about the machine that has a host's
// name. It is kept apart from the host's record, which is what its operator says.
type Machine struct {
	// Incarnation is the one that its agent told last.
	Incarnation string `json:"incarnation,omitempty"`
	// Anew is when it first answered as another incarnation than before; zero if it
	// never did.
	Anew time.Time `json:"anew,omitzero"`
	// Silent is since when it has not answered, once that was told to whom it matters;
	// zero if it answers.
	Silent time.Time `json:"silent,omitzero"`
}
