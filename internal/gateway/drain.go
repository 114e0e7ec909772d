package gateway

import (
	"context"
	"time"
)

// WatchDraining calls report with the enclaves that are draining and have
// connections: once at the start, then whenever their numbers change, but at
// most every interval, except that an enclave's arrival at zero is reported at
// once. A report leaves out nothing: an enclave reported as open appears again
// with Open 0. It returns the first error of report, or the context's.
func (r *Routes) WatchDraining(ctx context.Context, interval time.Duration, report func([]EnclaveCount) error) error {
	last := map[string]int{}
	var at time.Time
	for first := true; ; first = false {
		changed, empty := r.register.changed.wait(), r.register.emptied.wait()
		now, emptied, differs := drainStep(last, r.Draining())
		wait := interval - time.Since(at)
		if first || emptied || (differs && wait <= 0) {
			if err := report(now); err != nil {
				return err
			}
			at = time.Now()
			last = openByEnclave(now)
			differs, wait = false, interval
		}
		if differs { // a report is due later: until then only a zero matters
			changed = empty
		}
		if err := pause(ctx, changed, differs, wait); err != nil {
			return err
		}
	}
}

// pause waits for the next change or, if a report is due later, for its time.
func pause(ctx context.Context, changed <-chan struct{}, due bool, wait time.Duration) error {
	var tick <-chan time.Time
	if due {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-tick:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Draining lists the enclaves that no route leads to and that still have
// connections.
func (r *Routes) Draining() []EnclaveCount {
	return r.register.counts(func(t *tally) bool { return t.draining.Load() && t.open.Load() > 0 })
}

// drainStep compares the numbers last reported with those of now, adds what has
// gone as zero, and tells whether an enclave arrived there and whether anything
// differs.
func drainStep(last map[string]int, now []EnclaveCount) (out []EnclaveCount, emptied, differs bool) {
	seen := openByEnclave(now)
	for _, c := range now {
		differs = differs || last[c.Enclave] != c.Open
	}
	for _, id := range sortedKeys(last) {
		if _, ok := seen[id]; !ok && last[id] > 0 {
			now = append(now, EnclaveCount{Enclave: id, Draining: true})
			emptied, differs = true, true
		}
	}
	return now, emptied, differs
}

func openByEnclave(counts []EnclaveCount) map[string]int {
	m := make(map[string]int, len(counts))
	for _, c := range counts {
		m[c.Enclave] = c.Open
	}
	return m
}
