package gateway

import "sync/atomic"

// EnclaveCount is the number of connections open to one enclave.
type EnclaveCount struct {
	Enclave string `json:"enclave"`
	Open    int    `json:"open"`
	// Draining is true if no route in force leads to the enclave.
	Draining bool `json:"draining"`
	// Routes splits Open by the route the connections came through.
	Routes []RouteCount `json:"routes,omitempty"`
}

// RouteCount is the number of connections joined through one generation of a
// route.
type RouteCount struct {
	Domain     string `json:"domain"`
	Generation int64  `json:"generation"`
	Open       int    `json:"open"`
}

// tally counts the connections of one enclave.
type tally struct {
	id       string
	open     atomic.Int64
	draining atomic.Bool
	// lost says that nothing answers there any more.
	lost     atomic.Bool
	register *register
}

// cut says whether connections to the enclave are to be closed.
func (t *tally) cut() bool { return t.lost.Load() && t.draining.Load() }
