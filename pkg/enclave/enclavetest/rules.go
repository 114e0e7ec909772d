package enclavetest

import (
	"errors"
	"io"
	"slices"
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

func testUnknown(h *host) {
	ctx := contextOf(h.T)
	if _, err := h.b.Get(ctx, "a-r1-9"); !errors.Is(err, enclave.ErrNotFound) {
		h.Errorf("get: %v, expected ErrNotFound", err)
	}
	if err := h.b.Stop(ctx, "a-r1-9", 0); !errors.Is(err, enclave.ErrNotFound) {
		h.Errorf("stop: %v, expected ErrNotFound", err)
	}
	if err := h.b.Remove(ctx, "a-r1-9"); err != nil {
		h.Errorf("remove: %v, expected nil", err)
	}
	if _, err := h.b.Console(ctx, "a-r1-9", enclave.ConsoleOptions{}); !errors.Is(err, enclave.ErrNotFound) {
		h.Errorf("console: %v, expected ErrNotFound", err)
	}
}

func testRemove(h *host) {
	in := h.instance("a-r1-1")
	h.start(in)
	if err := h.b.Remove(contextOf(h.T), in.ID); !errors.Is(err, enclave.ErrRunning) {
		h.Errorf("remove a running one: %v, expected ErrRunning", err)
	}
	h.stop(in.ID, 0)
	if err := h.b.Remove(contextOf(h.T), in.ID); err != nil {
		h.Errorf("remove an exited one: %v", err)
	}
	if _, err := h.b.Get(contextOf(h.T), in.ID); !errors.Is(err, enclave.ErrNotFound) {
		h.Errorf("after the removal: %v, expected ErrNotFound", err)
	}
}

func testList(h *host) {
	h.start(h.instance("b-r1-1"))
	foreign := h.instance("a-r1-1", func(s *agentv1.EnclaveSpec) { s.Platform.ClusterId = "another" })
	h.start(foreign)
	h.stop("b-r1-1", 0)
	all, err := h.b.List(contextOf(h.T))
	if err != nil || len(all) != 2 {
		h.Fatalf("list: %v, %v", all, err)
	}
	if all[0].ID != "a-r1-1" || all[0].ClusterID != "another" || all[0].Phase != enclave.PhaseRunning || !exited(all[1]) {
		h.Errorf("list: %+v", all)
	}
}

func testWatch(h *host) {
	h.start(h.instance("a-r1-1"))
	ctx, cancel := contextWithCancel(h.T)
	defer cancel()
	events, err := h.b.Watch(ctx)
	if err != nil {
		h.Fatal(err)
	}
	// Events are merged, so the one before may have told of this change already.
	expect := func(id, what string, is func() bool) {
		h.Helper()
		if is() {
			return
		}
		for e := range events {
			if e.ID == id && is() {
				return
			}
		}
		h.Fatalf("no event of %s: %s", id, what)
	}
	if e := <-events; e.ID != "a-r1-1" {
		h.Fatalf("the first event is %v, expected what is there", e)
	}
	h.start(h.instance("b-r1-1"))
	expect("b-r1-1", "its endpoint", func() bool { return listening(h.get("b-r1-1")) })
	h.stop("b-r1-1", 0)
	expect("b-r1-1", "its end", func() bool { return exited(h.get("b-r1-1")) })
	if err := h.b.Remove(ctx, "b-r1-1"); err != nil {
		h.Fatal(err)
	}
	expect("b-r1-1", "its removal", func() bool { _, err := h.b.Get(ctx, "b-r1-1"); return err != nil })
}

func testWatchEnds(h *host) {
	ctx, cancel := contextWithCancel(h.T)
	events, err := h.b.Watch(ctx)
	if err != nil {
		h.Fatal(err)
	}
	cancel()
	if e, open := <-events; open {
		h.Errorf("an event after the end: %v", e)
	}
}

func testDeath(h *host) {
	if h.Kill == nil {
		h.Log("this backend's enclaves can't be killed from outside")
		return
	}
	in := h.instance("a-r1-1")
	h.start(in)
	h.until(in.ID, "listening", listening)
	h.Kill(h.T, in.ID)
	o := h.until(in.ID, "dead", exited)
	if o.Exit.Reason != enclave.ReasonDied {
		h.Errorf("ended with %+v, expected %s", o.Exit, enclave.ReasonDied)
	}
}

func testSurvive(h *host) {
	if !h.Survives {
		h.Log("this backend's enclaves end with it")
		return
	}
	h.start(h.instance("a-r1-1"))
	before := h.until("a-r1-1", "listening", listening)
	h.start(h.instance("b-r1-1"))
	h.Close(h.T, h.b)
	h.untilReady(before.Endpoint)
	h.Kill(h.T, "b-r1-1") // dies unseen
	h.b = h.Open(h.T)
	if after := h.get("a-r1-1"); after.Phase != enclave.PhaseRunning || after.Endpoint != before.Endpoint ||
		after.SpecDigest != before.SpecDigest || !slices.Equal(after.GPUs, before.GPUs) {
		h.Errorf("after the restart: %+v, before: %+v", after, before)
	}
	if o := h.until("b-r1-1", "dead", exited); o.Exit.Reason != enclave.ReasonDied {
		h.Errorf("one that died unseen: %+v, expected %s", o, enclave.ReasonDied)
	}
	h.stop("a-r1-1", Deadline)
	if o := h.get("a-r1-1"); o.Exit.Reason != enclave.ReasonPoweredOff {
		h.Errorf("the adopted one ended with %+v, expected %s", o.Exit, enclave.ReasonPoweredOff)
	}
}

func testConsole(h *host) {
	in := h.instance("a-r1-1")
	h.start(in)
	h.until(in.ID, "listening", listening)
	ctx := contextOf(h.T)
	r, err := h.b.Console(ctx, in.ID, enclave.ConsoleOptions{Follow: true})
	if err != nil {
		h.Fatal(err)
	}
	read := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(r)
		if err != nil {
			h.Errorf("follow the console: %v", err)
		}
		read <- b
	}()
	h.stop(in.ID, Deadline)
	whole := <-read
	if err := r.Close(); err != nil {
		h.Error(err)
	}
	if len(whole) == 0 {
		h.Fatal("the console is empty")
	}
	again, err := h.b.Console(ctx, in.ID, enclave.ConsoleOptions{TailLines: 1})
	if err != nil {
		h.Fatal(err)
	}
	last, err := io.ReadAll(again)
	if err := errors.Join(err, again.Close()); err != nil {
		h.Fatal(err)
	}
	if !strings.HasSuffix(string(whole), string(last)) || strings.Count(string(last), "\n") > 1 {
		h.Errorf("the last line is %q, the whole ends otherwise", last)
	}
}
