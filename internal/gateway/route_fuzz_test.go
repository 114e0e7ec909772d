package gateway

import (
	"testing"
	"time"
)

// Routes come from the coordinator and from a file: one that is taken stays the
// same when it is written and read again.
func FuzzRoute(f *testing.F) {
	f.Add("Web.Example.com.", int64(7), "serving", "c1-r1-1", "10.0.0.1:20443", "c1", int64(0))
	f.Add("llm.example.com", int64(1), "held", "", "", "c2", int64(time.Minute))
	f.Add("", int64(0), "open", "a b", "10.0.0.1", "\x1b[31m", int64(-1))
	f.Fuzz(func(t *testing.T, domain string, generation int64, state, enclave, endpoint, container string, hold int64) {
		r, err := Route{
			Domain: domain, Generation: generation, State: State(state), Enclave: enclave,
			Endpoint: endpoint, Container: container, HoldTimeout: time.Duration(hold),
		}.Normalize()
		if err != nil {
			return
		}
		if again, err := r.Normalize(); err != nil || again != r {
			t.Errorf("%+v becomes %+v, %v", r, again, err)
		}
		if r.Generation < 1 || r.State == Serving && r.Endpoint == "" {
			t.Errorf("%+v was taken", r)
		}
	})
}
