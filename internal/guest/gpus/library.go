package gpus

import (
	"context"
	"fmt"
)

// library is one of the driver's, called once at a time: a call that doesn't return
// costs its callers their deadline, and one goroutine in all, for there is no other
// call before it has returned.
type library[R any] struct {
	name    string
	reports func(nonce [32]byte) ([]R, error)
	turn    chan struct{} // holds a token while a call runs
}

func newLibrary[R any](name string, reports func([32]byte) ([]R, error)) library[R] {
	return library[R]{name: name, reports: reports, turn: make(chan struct{}, 1)}
}

type answer[R any] struct {
	reports []R
	err     error
}

func (l *library[R]) ask(ctx context.Context, nonce [32]byte) ([]R, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s has not returned from an earlier call: %w", l.name, ctx.Err())
	}
	answered := make(chan answer[R], 1)
	go func() {
		reports, err := l.reports(nonce)
		<-l.turn
		answered <- answer[R]{reports, err}
	}()
	select {
	case a := <-answered:
		return a.reports, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s does not return: %w", l.name, ctx.Err())
	}
}
