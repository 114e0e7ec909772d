package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// soaked is what a soak did, in the line that ends the program.
var soaked string

// TestSoak plays fresh seeds for SOAK_FOR or for SOAK_STEPS steps, on every core, and
// says how fast it was. Without either it makes 5,000 steps, so that the way there is
// tested.
func TestSoak(t *testing.T) {
	limit, steps := 1000*time.Hour, int64(5_000)
	var err error
	if text := os.Getenv("SOAK_FOR"); text != "" {
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK_FOR: %v", err)
		}
		steps = 0
	}
	if text := os.Getenv("SOAK_STEPS"); text != "" {
		if steps, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("SOAK_STEPS: %v", err)
		}
	}
	workers := 1
	if steps == 0 || steps > 100_000 {
		workers = runtime.GOMAXPROCS(0)
	}
	began, cpu, first := time.Now(), userTime(t), fresh(t)
	sums, oks := make([]stats, workers), make([]bool, workers)
	t.Run("workers", func(t *testing.T) {
		for i := range workers {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				sums[i], oks[i] = runFor(t, first+uint64(i)*1_000_000_007, limit, (steps+int64(workers)-1)/int64(workers))
			})
		}
	})
	var sum stats
	violations := 0
	for i := range workers {
		sum.add(sums[i])
		if !oks[i] {
			violations++
		}
	}
	cpu = userTime(t) - cpu
	fmt.Printf("workers %d, CPU time %s: %.0f steps a second of it\n", workers, cpu.Round(time.Second), float64(sum.steps)/cpu.Seconds())
	soaked = sum.line(time.Since(began), violations)
}

// userTime is the CPU time that the process has used outside the kernel.
func userTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
