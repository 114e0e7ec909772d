package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Sizes of what is asked for and answered, in bytes.
const (
	requestSize = 128
	smallAnswer = 256
	bulkAnswer  = 32 << 20
)

// load is one kind of work.
type load struct {
	name, unit string
	clients    int
	bulk       bool
	// target is the least ratio to haproxy's work per CPU second.
	target float64
	// client works until the context ends and reports each piece of work.
	client func(ctx context.Context, addr string, done func(work float64, took time.Duration)) error
}

var loads = []load{
	{"small", "requests", 32, false, 1, smallRequests},
	{"connections", "connections", 16, false, 1, newConnections},
	{"bulk", "MB", 4, true, 3, bulkBodies},
}

// tally is what all clients of a load did.
type tally struct {
	work   float64
	took   []time.Duration
	failed int
	err    error // the last one
}

func (t tally) p99() time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return t.took[len(t.took)*99/100]
}

// run drives the load until the context ends.
func (l load) run(ctx context.Context, addr string) tally {
	tallies := make([]tally, l.clients)
	var wg sync.WaitGroup
	for i := range tallies {
		t := &tallies[i]
		wg.Go(func() {
			err := l.client(ctx, addr, func(work float64, took time.Duration) {
				t.work += work
				if took > 0 {
					t.took = append(t.took, took)
				}
			})
			// A deadline of the context is met by sockets before the context says so.
			if err != nil && ctx.Err() == nil && !timedOut(err) {
				t.failed++
				t.err = err
			}
		})
	}
	wg.Wait()
	var sum tally
	for _, t := range tallies {
		sum.work += t.work
		sum.failed += t.failed
		sum.took = append(sum.took, t.took...)
		if t.err != nil {
			sum.err = t.err
		}
	}
	return sum
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func smallRequests(ctx context.Context, addr string, done func(float64, time.Duration)) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, smallAnswer)
	for ctx.Err() == nil {
		start := time.Now()
		if err := ask(c, smallAnswer, buf, nil); err != nil {
			return err
		}
		done(1, time.Since(start))
	}
	return nil
}

func newConnections(ctx context.Context, addr string, done func(float64, time.Duration)) error {
	buf := make([]byte, smallAnswer)
	for ctx.Err() == nil {
		start := time.Now()
		c, err := dial(ctx, addr)
		if err != nil {
			return err
		}
		err = ask(c, smallAnswer, buf, nil)
		c.Close()
		if err != nil {
			return err
		}
		done(1, time.Since(start))
	}
	return nil
}

func bulkBodies(ctx context.Context, addr string, done func(float64, time.Duration)) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil {
		start := time.Now()
		// What arrived of a body that is cut off at the end counts too.
		if err := ask(c, bulkAnswer, buf, func(n int) { done(float64(n)/1e6, 0) }); err != nil {
			return err
		}
		done(0, time.Since(start))
	}
	return nil
}

func dial(ctx context.Context, addr string) (*tls.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, clientConfig)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return t, nil
}

// ask sends one request and reads the whole answer.
func ask(c net.Conn, size int, buf []byte, arrived func(int)) error {
	var req [requestSize]byte
	binary.BigEndian.PutUint64(req[:], uint64(size))
	if _, err := c.Write(req[:]); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	for left := size; left > 0; {
		n, err := c.Read(buf[:min(left, len(buf))])
		left -= n
		if arrived != nil {
			arrived(n)
		}
		if err != nil && left > 0 {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return nil
}

// answer serves one connection of the TLS server.
func answer(c net.Conn) {
	body := make([]byte, 256<<10)
	var req [requestSize]byte
	for {
		if _, err := io.ReadFull(c, req[:]); err != nil {
			return
		}
		for left := int(min(binary.BigEndian.Uint64(req[:]), bulkAnswer)); left > 0; {
			n, err := c.Write(body[:min(left, len(body))])
			if err != nil {
				return
			}
			left -= n
		}
	}
}
