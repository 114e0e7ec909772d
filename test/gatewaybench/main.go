// Command gatewaybench compares the gateway with haproxy on this machine, over
// loopback, in one run and in front of the same TLS server: small requests over
// connections that are kept, new connections, and large bodies. The figure that
// counts is work per second of the proxy's CPU time, from /proc/PID/stat.
//
//	go run ./test/gatewaybench [-seconds 1] [-rounds 10] [-only LOAD] [-congestion reno] [-check]
//
// It takes rounds * 11 measurements of the given length, 110 seconds by default.
// They are short and many, and the proxies take turns, because a busy machine
// changes its speed by more than the proxies differ. The targets refer to
// "haproxy", which is an ordinary configuration in TCP mode. Large bodies are
// measured with two more: "haproxy-auto", which splices where it sees fit, and
// "haproxy-splice", where splicing is forced: there the work of both proxies is
// that of the kernel. "naive" is the least that can be written in Go.
//
// The kernel's work depends on the machine's congestion control: one that paces,
// as bbr does, sends by timers, which over loopback cost each proxy half as much
// or more as splicing does. That says nothing of the proxies and hides how they
// differ; -congestion reno measures without it, in a network namespace.
//
// With -check the exit status is 1 if a target is missed. Without haproxy
// (Debian: apt-get install haproxy) it measures the gateway alone and says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// longest bounds the whole run, whatever the flags say.
const longest = 3 * time.Minute

// namespace is the part that measures in a network of its own.
const namespace = "namespace"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gatewaybench:", err)
		os.Exit(1)
	}
}

func run() error {
	flags := flag.NewFlagSet("gatewaybench", flag.ContinueOnError)
	seconds := flags.Float64("seconds", 1, "length of one measurement")
	rounds := flags.Int("rounds", 10, "measurements of each kind; proxies take turns")
	only := flags.String("only", "", "measure only this load: small, connections or bulk")
	proxy := flags.String("proxy", "", "measure only this proxy: gateway, naive, haproxy, haproxy-auto or haproxy-splice")
	profile := flags.String("profile", "", "write a CPU profile of the gateway to this file")
	check := flags.Bool("check", false, "exit with 1 if a target is missed")
	congestion := flags.String("congestion", "", "measure in a network of its own with this congestion control; the machine's if empty")
	part := flags.String("part", "", "run as a part of the benchmark: server, gateway, naive or namespace")
	target := flags.String("target", "", "the server's address, for a part")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch *part {
	case "server":
		return runServer(ctx)
	case "gateway":
		return runGateway(ctx, *target, *profile)
	case naive:
		return runNaive(ctx, *target)
	case namespace:
		if err := prepareNamespace(*congestion); err != nil {
			return err
		}
	case "":
		if *congestion != "" {
			return runInNamespace(ctx)
		}
	default:
		return fmt.Errorf("unknown part %q", *part)
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	b := bench{
		length: time.Duration(*seconds * float64(time.Second)), rounds: *rounds,
		only: *only, proxy: *proxy, profile: *profile,
	}
	results, err := b.run(ctx)
	if err != nil {
		return err
	}
	missed := report(os.Stdout, results)
	if *check && missed {
		return errors.New("a target is missed")
	}
	return nil
}
