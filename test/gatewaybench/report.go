package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

func threads() int { return runtime.GOMAXPROCS(0) }

// report prints the table and tells whether a target is missed.
func report(out io.Writer, results []result) (missed bool) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "load\tproxy\twork/s\twork/proxy-CPU-s\tCPU µs/unit\tp99\tfailed\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f %s\t%.1f\t%s\t%d\t\n", r.load, r.proxy, r.work/r.wall.Seconds(),
			r.perCPU(), unit(r.load), 1e6/r.perCPU(), r.p99.Round(10*time.Microsecond), r.failed)
	}
	w.Flush()
	fmt.Fprintf(out, "congestion control: %s\n", congestionControl())
	for _, l := range loads {
		g, h := find(results, l.name, "gateway"), find(results, l.name, "haproxy")
		if g == nil || h == nil {
			continue
		}
		ratio := g.perCPU() / h.perCPU()
		verdict := "met"
		if ratio < l.target {
			verdict, missed = "missed", true
		}
		fmt.Fprintf(out, "%s: %.2f x haproxy per CPU second of the proxy, target %.1f, %s\n", l.name, ratio, l.target, verdict)
		for _, other := range []string{auto, forced, naive} {
			if f := find(results, l.name, other); f != nil {
				fmt.Fprintf(out, "%s: %.2f x %s, which is %.2f x haproxy\n", l.name, g.perCPU()/f.perCPU(), other, f.perCPU()/h.perCPU())
			}
		}
	}
	return missed
}

func find(results []result, load, proxy string) *result {
	for i, r := range results {
		if r.load == load && r.proxy == proxy {
			return &results[i]
		}
	}
	return nil
}

func unit(name string) string {
	for _, l := range loads {
		if l.name == name {
			return l.unit
		}
	}
	return ""
}
