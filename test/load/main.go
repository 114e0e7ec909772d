// Command load measures the real coordinator with thousands of simulated hosts
// over real gRPC connections.
//
//	go run ./test/load [-hosts 100,1000,10000] [-store memory] [-check]
//
// Each size is measured in a process of its own, so that its memory is that of
// the coordinator alone; the hosts are simulated in a second process and reached
// over a Unix socket, one connection a host. Both share the machine's CPUs. The
// hosts answer every call as the agent's API demands; their enclaves are healthy
// at once, every attestation is accepted, no gateway watches, and releases come
// from memory. The API is called over gRPC, by the same chain that serves users.
//
// Of each size it prints: the time to plan an update, idle and while updates
// run; updates finished per second; whether all updates in flight at once ended
// within their deadlines; memory per host and per container; the time from start
// until every host is ready and every unfinished update has made a step; and at
// the end how each grows with the number of hosts, and which targets are met.
//
// With -check the exit status is 1 if a target is missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// options are what the flags say; a size's process is given all of them.
type options struct {
	sizes      []int
	perHost    int
	revisions  int
	plans      int
	inFlight   int
	updates    int
	store      string
	profile    string
	maxPerSize time.Duration
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	sizes := flags.String("hosts", "100,1000,10000", "numbers of hosts to measure, with commas between")
	flags.IntVar(&o.perHost, "containers", 10, "containers per host; every second one has a GPU")
	flags.IntVar(&o.revisions, "revisions", 3, "revisions that each container has")
	flags.IntVar(&o.plans, "plans", 2000, "updates to plan, idle")
	flags.IntVar(&o.inFlight, "in-flight", 500, "updates in flight at once")
	flags.IntVar(&o.updates, "updates", 1000, "updates to carry out for the rate")
	flags.StringVar(&o.store, "store", "memory", "the coordinator's store: memory or sqlite")
	flags.StringVar(&o.profile, "profile", "", "write CPU and heap profiles of the coordinator to this prefix")
	flags.DurationVar(&o.maxPerSize, "limit", 10*time.Minute, "longest time for one size")
	check := flags.Bool("check", false, "exit with 1 if a target is missed")
	part := flags.String("part", "", "run as a part of the benchmark: size or hosts")
	socket := flags.String("socket", "", "the socket of the simulated hosts, for a part")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.sizes, err = parseSizes(*sizes); err != nil {
		return err
	}
	if o.store != "memory" && o.store != "sqlite" {
		return fmt.Errorf("unknown store %q: memory or sqlite", o.store)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch *part {
	case "hosts":
		return runHosts(ctx, *socket, o.layout(o.sizes[0]))
	case "size":
		return runSize(ctx, o)
	case "":
		return runAll(ctx, o, *check)
	}
	return fmt.Errorf("unknown part %q", *part)
}

func parseSizes(text string) ([]int, error) {
	var sizes []int
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > 100_000 {
			return nil, fmt.Errorf("-hosts: %q is no number of hosts", field)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

func (o options) layout(hosts int) layout {
	return layout{hosts: hosts, perHost: o.perHost, revisions: o.revisions}
}

// runAll measures every size in a process of its own and prints what came of it.
func runAll(ctx context.Context, o options, check bool) error {
	var results []result
	printHead(os.Stdout, o)
	for _, n := range o.sizes {
		r, err := measureSize(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d hosts: %w", n, err)
		}
		results = append(results, r)
		printSize(os.Stdout, r)
	}
	missed := printSummary(os.Stdout, results)
	if check && missed {
		return errors.New("a target is missed")
	}
	return nil
}
