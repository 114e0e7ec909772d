package sim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// replay prints a failed run: its actions in words and the command that plays it
// again.
func replay(t *testing.T, p plot, v *violation) {
	t.Helper()
	small := shrink(t, p, v.invariant)
	small.verbose = true
	out := play(t, small)
	var b strings.Builder
	fmt.Fprintf(&b, "%s is violated: %s\n\nseed %d, shrunk from %d to %d actions:\n", v.invariant, v.text, p.seed, len(p.actions), len(small.actions))
	for _, a := range small.actions {
		b.WriteString("\t" + a.words() + "\n")
	}
	b.WriteString("\nwhat happened:\n")
	for _, line := range out.trace {
		b.WriteString("\t" + line + "\n")
	}
	fmt.Fprintf(&b, "\nreplay: SIM_SEED=%d go test ./test/sim -run TestReplay\n", p.seed)
	t.Error(b.String())
}

// shrink takes out actions for as long as the same invariant is violated.
func shrink(t *testing.T, p plot, invariant string) plot {
	t.Helper()
	began := time.Now()
	for size := len(p.actions) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(p.actions) && time.Since(began) < 20*time.Second; {
			q := p
			q.actions = append(append([]action{}, p.actions[:at]...), p.actions[at+size:]...)
			if out := play(t, q); out.violation != nil && out.violation.invariant == invariant {
				p = q
				continue
			}
			at += size
		}
	}
	return p
}

// runFor plays fresh seeds until the time is over.
func runFor(t *testing.T, seed uint64, limit time.Duration, steps int64) (stats, bool) {
	t.Helper()
	var sum stats
	began := time.Now()
	for time.Since(began) < limit && (steps == 0 || sum.steps < steps) {
		p := generate(seed)
		p.sqlite = seed%50 == 49
		out := play(t, p)
		sum.add(out.stats)
		if out.violation != nil {
			replay(t, p, out.violation)
			return sum, false
		}
		seed++
	}
	return sum, true
}

func (s stats) line(took time.Duration, violations int) string {
	return fmt.Sprintf("steps %d updates %d ended %d crashes %d runs %d violations %d (%.0f steps/s)",
		s.steps, s.updates, s.ended, s.crashes, s.runs, violations, float64(s.steps)/took.Seconds())
}

// fresh is a seed that was not used before, or SIM_SEED.
func fresh(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("SIM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SIM_SEED: %v", err)
		}
		return seed
	}
	return uint64(time.Now().UnixNano()) % 1_000_000_000_000
}

// playedFor is how long a test plays: SIM_FOR, or what it does otherwise.
func playedFor(t *testing.T, otherwise time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("SIM_FOR")
	if text == "" {
		return otherwise
	}
	limit, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SIM_FOR: %v", err)
	}
	return limit
}

// TestSimulation plays runs with fresh seeds for SIM_FOR, 30 seconds by default.
func TestSimulation(t *testing.T) {
	limit := playedFor(t, 30*time.Second)
	began := time.Now()
	sum, _ := runFor(t, fresh(t), limit, 0)
	t.Log(sum.line(time.Since(began), 0))
	if sum.updates == 0 || sum.crashes == 0 {
		t.Errorf("nothing happened: %+v", sum)
	}
}

// TestReplay plays the run of SIM_SEED in words; without it, that of seed 1.
func TestReplay(t *testing.T) {
	p := generate(1)
	if os.Getenv("SIM_SEED") != "" {
		p = generate(fresh(t))
	}
	p.sqlite, p.verbose = p.seed%50 == 49, true
	out := play(t, p)
	if out.violation != nil {
		replay(t, p, out.violation)
		return
	}
	if testing.Verbose() {
		t.Log(strings.Join(out.trace, "\n"))
	}
}
