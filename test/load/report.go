package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"time"
)

// Targets of the largest size.
const (
	targetPlan     = 5 * time.Millisecond
	targetHost     = 50 << 10 // bytes
	targetRecovery = 30 * time.Second
)

func printHead(w io.Writer, o options) {
	_, _ = fmt.Fprintf(w, "coordinator with the %s store on %d CPUs, shared with the simulated hosts; %d containers a host, %d revisions each;\n"+
		"hosts over gRPC on Unix sockets; enclaves healthy at once, attestations accepted unseen, no gateway, releases from memory\n",
		o.store, runtime.GOMAXPROCS(0), o.perHost, o.revisions)
}

func printSize(w io.Writer, r result) {
	_, _ = fmt.Fprintf(w, "\n%d hosts, %d GPUs, %d containers\n", r.Hosts, r.Hosts*gpusPerHost, r.Containers)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "  %-26s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("load average", "%.1f before, %.1f after", r.Load[0], r.Load[1])
	row("plan, idle", "p50 %s  p99 %s  max %s  (%d); %s of CPU each", ms(r.Plan.P50), ms(r.Plan.P99), ms(r.Plan.Max), r.Plan.Calls, ms(r.PlanCPU))
	row("  hashing 1 MiB, just before", "p50 %s  p99 %s  max %s: what the machine itself adds", ms(r.Machine.P50), ms(r.Machine.P99), ms(r.Machine.Max))
	row("plan, while updates run", "p50 %s  p99 %s  max %s  (%d)", ms(r.BusyPlan.P50), ms(r.BusyPlan.P99), ms(r.BusyPlan.Max), r.BusyPlan.Calls)
	row("updates finished", "%.0f a second (%d); %s of CPU each, plans beside them included", r.Rate.PerSecond, r.Rate.Updates, ms(r.Rate.CPU))
	row("updates in flight", "%d at once: %d succeeded, %d missed a deadline, the slowest step took %.1f %% of its time", r.InFlight.Held, r.InFlight.Succeeded, r.InFlight.Missed, 100*r.InFlight.Nearest)
	row("", "started in %s, ended %s after their boots", s(r.InFlight.Started), s(r.InFlight.Ended))
	row("memory per host", "%s resident, %s live", kib(r.HostBytes), kib(r.HostLive))
	row("memory per container", "%s resident, %s live; %s for the records in the store", kib(r.ContainerBytes), kib(r.ContainerLive), kib(r.RecordBytes))
	row("memory at most", "%d MiB", r.PeakBytes>>20)
	row("recovered", "%s: hosts ready %s, %d unfinished updates gone on %s", s(r.Recovered), s(r.Ready), r.Unfinished, s(r.Resumed))
	row("", "quiet %s, %s of CPU, %d commits; hosts without enclaves ready %s", s(r.Quiet), s(r.RecoveredCPU), r.RecoveredCommits, s(r.Connected))
	row("idle", "%.1f %% of a CPU", 100*r.IdleCPU)
	row("records written", "%s", s(r.Seeded))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

func s(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func kib(b float64) string { return fmt.Sprintf("%.1f KiB", b/1024) }

// printSummary prints growth and targets and says whether one is missed.
func printSummary(w io.Writer, results []result) bool {
	printGrowth(w, results)
	missed := false
	_, _ = fmt.Fprintln(w)
	for _, t := range targets(results[len(results)-1]) {
		word := "met"
		if !t.met {
			word, missed = "MISSED", true
		}
		_, _ = fmt.Fprintf(w, "target %-52s %-7s %s\n", t.name, word, t.got)
	}
	return missed
}

type target struct {
	name, got string
	met       bool
}

func targets(r result) []target {
	at := fmt.Sprintf(" at %d hosts", r.Hosts)
	return []target{
		{"plan p99 under 5 ms" + at, ms(r.Plan.P99), r.Plan.P99 < targetPlan},
		{"plan p99 under 5 ms while updates run" + at, ms(r.BusyPlan.P99), r.BusyPlan.P99 < targetPlan},
		{
			fmt.Sprintf("%d updates in flight, none late", r.InFlight.Updates), fmt.Sprintf("%d succeeded", r.InFlight.Succeeded),
			r.InFlight.Held == r.InFlight.Updates && r.InFlight.Succeeded == r.InFlight.Updates && r.InFlight.Missed == 0,
		},
		{"under 50 KiB per host" + at, kib(r.HostBytes), r.HostBytes < targetHost},
		{"recovery under 30 s" + at, s(r.Recovered), r.Recovered < targetRecovery},
	}
}

// figure is one of those whose growth is shown.
type figure struct {
	name string
	of   func(result) float64
	text func(float64) string
}

func seconds(of func(result) time.Duration) func(result) float64 {
	return func(r result) float64 { return of(r).Seconds() }
}

func figures() []figure {
	milli := func(v float64) string { return fmt.Sprintf("%.2f ms", 1000*v) }
	whole := func(v float64) string { return fmt.Sprintf("%.1f s", v) }
	mib := func(v float64) string { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }
	return []figure{
		{"plan p50, idle", seconds(func(r result) time.Duration { return r.Plan.P50 }), milli},
		{"plan p99, idle", seconds(func(r result) time.Duration { return r.Plan.P99 }), milli},
		{"CPU of a plan", seconds(func(r result) time.Duration { return r.PlanCPU }), milli},
		{"plan p50, while updates run", seconds(func(r result) time.Duration { return r.BusyPlan.P50 }), milli},
		{"plan p99, while updates run", seconds(func(r result) time.Duration { return r.BusyPlan.P99 }), milli},
		{"time for one update", func(r result) float64 { return 1 / r.Rate.PerSecond }, milli},
		{"CPU of an update", seconds(func(r result) time.Duration { return r.Rate.CPU }), milli},
		{"memory of all hosts", func(r result) float64 { return r.HostBytes * float64(r.Hosts) }, mib},
		{"memory of all containers", func(r result) float64 { return r.ContainerBytes * float64(r.Containers) }, mib},
		{"recovery", seconds(func(r result) time.Duration { return r.Recovered }), whole},
		{"CPU of recovery", seconds(func(r result) time.Duration { return r.RecoveredCPU }), whole},
		{"CPU in use while idle, of 1 s", func(r result) float64 { return r.IdleCPU }, milli},
	}
}

// printGrowth prints every figure at every size, and how it grows from the
// smallest to the largest, as the power of the number of hosts: 0 is not at all,
// 1 is linearly.
func printGrowth(w io.Writer, results []result) {
	if len(results) < 2 {
		return
	}
	first, last := results[0], results[len(results)-1]
	_, _ = fmt.Fprintf(w, "\n%-32s", "growth with hosts")
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "%14d", r.Hosts)
	}
	_, _ = fmt.Fprintf(w, "%8s\n", "power")
	for _, f := range figures() {
		_, _ = fmt.Fprintf(w, "  %-30s", f.name)
		for _, r := range results {
			_, _ = fmt.Fprintf(w, "%14s", f.text(f.of(r)))
		}
		power := math.Log(f.of(last)/f.of(first)) / math.Log(float64(last.Hosts)/float64(first.Hosts))
		word := ""
		if power > 1.05 {
			word = "  worse than linear"
		}
		_, _ = fmt.Fprintf(w, "%8.2f%s\n", power, word)
	}
}
