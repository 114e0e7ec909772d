package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// bench is one run of the comparison.
type bench struct {
	length               time.Duration
	rounds               int
	only, proxy, profile string
}

// result is what one proxy did under one load, over all rounds.
type result struct {
	load, proxy string
	work        float64       // in the load's unit
	wall, cpu   time.Duration // of the measurements, and the proxy's share
	p99         time.Duration // of the slowest round
	failed      int
}

// perCPU is the work done in a second of the proxy's CPU time.
func (r result) perCPU() float64 { return r.work / r.cpu.Seconds() }

// run starts the server and the proxies and measures each load on each proxy,
// in turns, so that what else the machine does meets both.
func (b bench) run(ctx context.Context) ([]result, error) {
	server, err := startPart(ctx, "server")
	if err != nil {
		return nil, err
	}
	defer server.stop()
	proxies, err := b.startProxies(ctx, server.addr)
	if err != nil {
		return nil, err
	}
	for _, p := range proxies {
		defer p.stop()
	}
	var results []result
	for _, l := range loads {
		if b.only != "" && b.only != l.name {
			continue
		}
		sums, err := b.measure(ctx, l, proxies)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		results = append(results, sums...)
	}
	return results, nil
}

func (b bench) startProxies(ctx context.Context, target string) ([]*process, error) {
	var out []*process
	for _, part := range []string{"gateway", naive} {
		if b.proxy != "" && b.proxy != part {
			continue
		}
		p, err := startPart(ctx, part, "-target", target, "-profile", b.profile)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	for _, h := range []struct{ name, splice string }{
		{"haproxy", ""},
		{auto, "option splice-auto"},
		{forced, "option splice-request\n  option splice-response"},
	} {
		if b.proxy != "" && b.proxy != h.name {
			continue
		}
		p, err := startHaproxy(ctx, h.name, h.splice, target)
		if err != nil {
			fmt.Fprintf(os.Stderr, "gatewaybench: %v\ngatewaybench: measuring the gateway alone: there is no comparison\n", err)
			return out, nil
		}
		out = append(out, p)
	}
	return out, nil
}

// naive is the least that can be written in Go; auto and forced are haproxy with
// splicing where it sees fit and always, which only matters to large bodies.
const (
	naive  = "naive"
	auto   = "haproxy-auto"
	forced = "haproxy-splice"
)

// measure runs one load on every proxy, in rounds.
func (b bench) measure(ctx context.Context, l load, proxies []*process) ([]result, error) {
	proxies = slices.DeleteFunc(slices.Clone(proxies), func(p *process) bool { return (p.name == forced || p.name == auto) && !l.bulk })
	sums := make([]result, len(proxies))
	for range b.rounds {
		for i, p := range proxies {
			r, err := b.once(ctx, l, p)
			if err != nil {
				return nil, err
			}
			sums[i] = add(sums[i], r)
		}
	}
	return sums, nil
}

// once is one measurement: the load runs, and the proxy's CPU time is read
// before and after.
func (b bench) once(ctx context.Context, l load, p *process) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.length)
	defer cancel()
	before, err := p.cpu()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	done := l.run(ctx, p.addr)
	wall := time.Since(start)
	after, err := p.cpu()
	if err != nil {
		return result{}, err
	}
	if done.work == 0 {
		return result{}, fmt.Errorf("nothing came through %s: %w", p.name, done.err)
	}
	if done.failed > 0 {
		fmt.Fprintf(os.Stderr, "gatewaybench: %s through %s: %d clients failed, the last with: %v\n", l.name, p.name, done.failed, done.err)
	}
	return result{
		load: l.name, proxy: p.name, work: done.work, wall: wall, cpu: after - before,
		p99: done.p99(), failed: done.failed,
	}, nil
}

func add(a, b result) result {
	b.work += a.work
	b.wall += a.wall
	b.cpu += a.cpu
	b.failed += a.failed
	b.p99 = max(a.p99, b.p99)
	return b
}
