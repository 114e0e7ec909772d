package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/casemate-dev/casemate/internal/rpc"
)

// sender sends messages on a stream whose reader may be slow. A reader that does
// not take one in time is given up: it is told so, never skipped.
type sender[T any] struct {
	ctx   context.Context // the stream's
	limit time.Duration
	msgs  chan T
	sent  chan error
}

// newSender returns a sender that lives as long as the stream. Its goroutine ends
// with the stream, also when a Send hangs: the stream's end ends it.
func newSender[T any](ctx context.Context, limit time.Duration, send func(T) error) *sender[T] {
	s := &sender[T]{ctx: ctx, limit: limit, msgs: make(chan T), sent: make(chan error, 1)}
	go func() {
		for {
			select {
			case m := <-s.msgs:
				s.sent <- send(m)
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

// send sends one message. After an error the sender is of no use.
func (s *sender[T]) send(m T) error {
	timer := time.NewTimer(s.limit)
	defer timer.Stop()
	select {
	case s.msgs <- m:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	select {
	case err := <-s.sent:
		return err
	case <-timer.C:
		return rpc.Error(codes.Aborted, ReasonSlowReader,
			fmt.Sprintf("a message was not read within %s: watch again, and read faster", s.limit))
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func shuttingDown() error {
	return rpc.Error(codes.Unavailable, "STOPPING", "the agent is being restarted; enclaves go on running: watch again")
}
