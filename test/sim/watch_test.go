package sim

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/rpc"
)

// reader follows one kind of thing as a client of the API does: a snapshot first,
// then changes, and after every break what followed its last token. Its fields are
// guarded by the world's mu.
type reader struct {
	what string
	// watch opens the stream, list gives the same things at once, by key.
	watch func(ctx context.Context, c *conn, token string) (receive, error)
	list  func(ctx context.Context, c *conn) (map[string]proto.Message, error)

	have  map[string]proto.Message
	token string
	stop  context.CancelFunc
	// kept are states of before, with the tokens that go on from them.
	kept []kept
}

type kept struct {
	token string
	have  map[string]proto.Message
}

// told is one message of a watch: of a thing that is, or, without it, was.
type told struct {
	key      string
	thing    proto.Message
	token    string
	bookmark bool
}

type receive func() (told, error)

// newReaders are those of a run that has some.
func newReaders() []*reader {
	return []*reader{
		{what: "container", watch: watchContainers, list: listContainers},
		{what: "update", watch: watchUpdates, list: listUpdates},
		{what: "route", watch: watchRoutes, list: listRoutes},
	}
}

// read lets every reader that has lost its stream open one again. mu is held.
func (w *world) read() {
	c := w.leader()
	if c == nil || c.dead {
		return
	}
	for _, r := range w.readers {
		if r.stop != nil {
			continue
		}
		ctx, cancel := context.WithCancel(c.ctx)
		r.stop = cancel
		go w.keepReading(ctx, c.conn, r)
	}
}

// keepReading reads one stream to its end.
func (w *world) keepReading(ctx context.Context, c *conn, r *reader) {
	w.mu.Lock()
	token := r.token
	if token == "" {
		r.have = map[string]proto.Message{}
	}
	w.mu.Unlock()
	next, err := r.watch(ctx, c, token)
	for err == nil {
		var m told
		if m, err = next(); err != nil {
			break
		}
		w.mu.Lock()
		r.take(m)
		if m.token != "" && len(r.kept) < 3 && w.roll("keep "+r.what)%16 == 0 {
			r.kept = append(r.kept, kept{m.token, maps.Clone(r.have)})
		}
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r.stop()
	r.stop = nil
	if rpc.Reason(err) == "RESUME_TOKEN_EXPIRED" {
		r.token = ""
	}
}

func (r *reader) take(m told) {
	switch {
	case m.thing != nil:
		r.have[m.key] = m.thing
	case m.key != "":
		delete(r.have, m.key)
	}
	if m.token != "" {
		r.token = m.token
	}
}

// breakOff ends the streams of all readers.
func (w *world) breakOff() {
	for _, r := range w.readers {
		if r.stop != nil {
			r.stop()
		}
	}
}

// compareReaders is I10: what was put together from a watch, from its beginning
// and from any token, is what List gives. mu is not held.
func (w *world) compareReaders() {
	w.mu.Lock()
	readers, c := w.readers, w.leader()
	w.mu.Unlock()
	if c == nil || len(readers) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	for _, r := range readers {
		want, err := r.list(ctx, c.conn)
		if err != nil {
			w.compared(r, "a list of it", nil, nil, err)
			continue
		}
		w.mu.Lock()
		have, old := maps.Clone(r.have), r.kept
		w.mu.Unlock()
		w.compared(r, "its watch", have, want, nil)
		for _, k := range old {
			have, err := replayed(ctx, c.conn, r, k)
			if rpc.Reason(err) != "RESUME_TOKEN_EXPIRED" {
				w.compared(r, "its watch from a token", have, want, err)
			}
		}
	}
}

// replayed goes on from a token until the watch has caught up.
func replayed(ctx context.Context, c *conn, r *reader, k kept) (map[string]proto.Message, error) {
	again := &reader{have: maps.Clone(k.have)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next, err := r.watch(ctx, c, k.token)
	if err != nil {
		return nil, err
	}
	for {
		m, err := next()
		if err != nil {
			return nil, err
		}
		again.take(m)
		if m.bookmark {
			return again.have, nil
		}
	}
}

func (w *world) compared(r *reader, what string, have, want map[string]proto.Message, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.violate("I10", "%s: %s fails: %v", r.what, what, err)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if have[key] == nil || !proto.Equal(have[key], want[key]) {
			w.violate("I10", "%s %s: %s gives %v, List %v", r.what, key, what, have[key], want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if want[key] == nil {
			w.violate("I10", "%s %s: %s still has it, List does not", r.what, key, what)
		}
	}
}

// messages turns a stream into what a reader takes.
func messages[M any](s grpc.ServerStreamingClient[M], err error, as func(*M) told) (receive, error) {
	return func() (told, error) {
		m, err := s.Recv()
		if err != nil {
			return told{}, err
		}
		return as(m), nil
	}, err
}

func watchContainers(ctx context.Context, c *conn, token string) (receive, error) {
	s, err := cv1.NewContainerServiceClient(c).WatchContainers(ctx, &cv1.WatchContainersRequest{Org: org, ResumeToken: token})
	return messages(s, err, func(m *cv1.WatchContainersResponse) told {
		t := told{token: m.GetResumeToken(), bookmark: m.GetBookmark() != nil}
		if x := m.GetChanged(); x != nil {
			t.key, t.thing = x.GetName(), x
		} else if d := m.GetDeleted(); d != nil {
			t.key = d.GetName()
		}
		return t
	})
}

func listContainers(ctx context.Context, c *conn) (map[string]proto.Message, error) {
	l, err := cv1.NewContainerServiceClient(c).ListContainers(ctx, &cv1.ListContainersRequest{Org: org})
	out := map[string]proto.Message{}
	for _, x := range l.GetContainers() {
		out[x.GetName()] = x
	}
	return out, err
}

func watchUpdates(ctx context.Context, c *conn, token string) (receive, error) {
	s, err := cv1.NewUpdateServiceClient(c).WatchUpdates(ctx, &cv1.WatchUpdatesRequest{Org: org, ResumeToken: token})
	return messages(s, err, func(m *cv1.WatchUpdatesResponse) told {
		t := told{token: m.GetResumeToken(), bookmark: m.GetBookmark() != nil}
		if x := m.GetChanged(); x != nil {
			t.key, t.thing = x.GetId(), x
		} else if d := m.GetDeleted(); d != nil {
			t.key = d.GetName()
		}
		return t
	})
}

func listUpdates(ctx context.Context, c *conn) (map[string]proto.Message, error) {
	out := map[string]proto.Message{}
	for page := ""; ; {
		l, err := cv1.NewUpdateServiceClient(c).ListUpdates(ctx, &cv1.ListUpdatesRequest{Org: org, PageSize: 10, PageToken: page})
		if err != nil {
			return nil, err
		}
		for _, x := range l.GetUpdates() {
			out[x.GetId()] = x
		}
		if page = l.GetNextPageToken(); page == "" {
			return out, nil
		}
	}
}

func watchRoutes(ctx context.Context, c *conn, token string) (receive, error) {
	s, err := cv1.NewRouteServiceClient(c).WatchRoutes(ctx, &cv1.WatchRoutesRequest{ResumeToken: token})
	return messages(s, err, func(m *cv1.WatchRoutesResponse) told {
		t := told{token: m.GetResumeToken(), bookmark: m.GetBookmark() != nil}
		if x := m.GetChanged(); x != nil {
			t.key, t.thing = x.GetDomain(), x
		} else if d := m.GetDeleted(); d != nil {
			t.key = d.GetDomain()
		}
		return t
	})
}

func listRoutes(ctx context.Context, c *conn) (map[string]proto.Message, error) {
	l, err := cv1.NewRouteServiceClient(c).ListRoutes(ctx, &cv1.ListRoutesRequest{})
	out := map[string]proto.Message{}
	for _, x := range l.GetRoutes() {
		out[x.GetDomain()] = x
	}
	return out, err
}
