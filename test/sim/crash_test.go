package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// TestCrashPoints crashes the coordinator before and after every commit that
// enters a step and every call of its effects, in every story, crossed with what
// else may happen. The points are found by telling each story once: a step of
// the engine's table that no story comes to fails the test.
func TestCrashPoints(t *testing.T) {
	unseen := map[string]bool{}
	for _, step := range engine.Steps() {
		unseen[string(step)] = true
	}
	table := coverage{rows: map[string]*row{}}
	t.Run("stories", func(t *testing.T) {
		for _, s := range stories {
			points, out, _ := tell(t, s, "", 0, true)
			if out.violation != nil {
				t.Fatalf("%s without a crash: %s: %s\n%s", s.name, out.violation.invariant, out.violation.text, strings.Join(out.trace, "\n"))
			}
			for _, p := range points {
				if step, ok := strings.CutPrefix(p, "before the commit that enters "); ok {
					delete(unseen, step)
				}
			}
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				crashAtAll(t, s, points, &table)
			})
		}
	})
	table.print(t)
	if len(unseen) > 0 {
		t.Errorf("no story comes to the steps %v: add one", slices.Sorted(maps.Keys(unseen)))
	}
}

// crosses says whether the point of a number is crossed with a crossing: every
// one with every one, but where the race detector is on with one, in turn.
func crosses(crossing, point int) bool {
	return !raceEnabled || point%len(crossings) == crossing
}

// crashAtAll tells a story with a crash at each of its points, crossed with each
// of what else may happen.
func crashAtAll(t *testing.T, s story, points []string, table *coverage) {
	t.Helper()
	come, told := 0, 0
	for i := range crossings {
		for n, p := range points {
			if !crosses(i, n) {
				continue
			}
			told++
			_, out, crashed := tell(t, s, p, i, false)
			if out.violation != nil {
				_, out, _ = tell(t, s, p, i, true)
				t.Fatalf("crashed %s, with %s: %+v\n%s", p, crossings[i].name, out.violation, strings.Join(out.trace, "\n"))
			}
			if crashed {
				come++
				table.add(s, p, i)
			}
		}
	}
	if come*20 < told*19 {
		t.Errorf("only %d of %d points were come to", come, told)
	}
}

// coverage counts the crashes by strategy, step and what they were crossed with.
type coverage struct {
	mu   sync.Mutex
	rows map[string]*row
}

type row struct {
	// commits and calls are the crashes at either.
	commits, calls int
	crossed        []int
}

func (c *coverage) add(s story, point string, crossing int) {
	strategy := model.BlueGreen
	if s.repo == "eight" {
		strategy = model.Replace
	}
	step := point[strings.LastIndexByte(point, ' ')+1:]
	if strings.Contains(point, " in teardown ") {
		step = "teardown " + step
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fmt.Sprintf("%-10s  %s", strategy, step)
	r := c.rows[key]
	if r == nil {
		r = &row{crossed: make([]int, len(crossings))}
		c.rows[key] = r
	}
	if strings.Contains(point, "commit") {
		r.commits++
	} else {
		r.calls++
	}
	r.crossed[crossing]++
}

// print shows the table.
func (c *coverage) print(t *testing.T) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-34s %8s %8s", "strategy and step", "commits", "calls")
	for _, x := range crossings {
		fmt.Fprintf(&b, " %12s", x.name)
	}
	for _, key := range slices.Sorted(maps.Keys(c.rows)) {
		r := c.rows[key]
		fmt.Fprintf(&b, "\n%-34s %8d %8d", key, r.commits, r.calls)
		for i, n := range r.crossed {
			fmt.Fprintf(&b, " %12d", n)
			if n == 0 && !raceEnabled {
				t.Errorf("no crash in %s is crossed with %s", key, crossings[i].name)
			}
		}
	}
	t.Log(b.String())
}
