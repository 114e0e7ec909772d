package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/casemate-dev/casemate/internal/rpc"
)

// Limits bound the patience with a broken connection.
type Limits struct {
	// First is the wait before the first new attempt; it doubles up to Longest.
	First, Longest time.Duration
	// GiveUp is how long nothing may have been heard before LostError.
	GiveUp time.Duration
}

// DefaultLimits suit a coordinator that is restarted.
var DefaultLimits = Limits{First: 200 * time.Millisecond, Longest: 5 * time.Second, GiveUp: 2 * time.Minute}

// LostError says that the connection could not be had again in time.
type LostError struct{ Err error }

// Error says how it failed last.
func (e *LostError) Error() string { return "the connection is lost: " + rpc.Text(e.Err) }

// Unwrap returns the last failure.
func (e *LostError) Unwrap() error { return e.Err }

// Watch is one watch to read.
type Watch[M any] struct {
	// Open begins the watch after the token; empty means with a snapshot.
	Open func(ctx context.Context, token string) (grpc.ServerStreamingClient[M], error)
	// Token returns where to go on after a message.
	Token func(*M) string
	// Take gets every message. It ends the watch by returning true or an error.
	Take func(*M) (bool, error)
	// Fresh is called before the watch begins with a snapshot: at first, and again
	// when the history after the token is gone. May be nil.
	Fresh func()
	// Broken is called when a stream broke, before the next attempt. May be nil.
	Broken func(error)
}

// Run reads the watch until Take ends it, ctx ends, the coordinator refuses it, or
// nothing was heard for Limits.GiveUp.
func Run[M any](ctx context.Context, l Limits, w Watch[M]) error {
	token, wait, silent := "", l.First, time.Now()
	for {
		heard, done, err := w.stream(ctx, &token)
		switch {
		case done:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case rpc.Code(err) == codes.OutOfRange && token != "":
			token = ""
		case !broken(err):
			return err
		}
		if heard {
			wait, silent = l.First, time.Now()
		} else if time.Since(silent) > l.GiveUp {
			return &LostError{err}
		}
		if w.Broken != nil {
			w.Broken(err)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, l.Longest)
	}
}

// stream reads one stream to its end. It says whether anything was heard and
// whether Take ended the watch.
func (w Watch[M]) stream(ctx context.Context, token *string) (heard, done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if *token == "" && w.Fresh != nil {
		w.Fresh()
	}
	s, err := w.Open(ctx, *token)
	if err != nil {
		return false, false, fmt.Errorf("watch: %w", err)
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return heard, false, fmt.Errorf("watch: %w", err)
		}
		heard = true
		done, err := w.Take(m)
		if done || err != nil {
			return true, true, err
		}
		if t := w.Token(m); t != "" {
			*token = t
		}
	}
}

// broken says whether to try again: the stream ended, or the server is away, slow
// or stopping, rather than refusing the request.
func broken(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	switch rpc.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.Canceled, codes.DeadlineExceeded:
		return true
	case codes.Internal, codes.Unknown:
		return rpc.Reason(err) == ""
	}
	return false
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
