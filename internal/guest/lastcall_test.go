package guest

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestWhoIsConnectedIsLetIn: a connection that the kernel accepted before the
// end is served, whether or not anybody was in Accept at that time.
func TestWhoIsConnectedIsLetIn(t *testing.T) {
	const n = 5
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLastCall(inner)
	defer l.Close()
	for range n {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("connection %d of %d, made before the end, was refused: %v", i+1, n, err)
		}
		defer c.Close()
	}
	if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("with nobody left Accept gives %v, %v; want net.ErrClosed", c, err)
	}
}

func TestAnAcceptThatWaitsEndsWithNobodyThere(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLastCall(inner)
	defer l.Close()
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-accepted:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept gives %v, want net.ErrClosed", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Accept still waits after the end")
	}
}

// plainListener is one without a socket.
type plainListener struct{ net.Listener }

func TestAListenerWithoutASocketIsClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLastCall(plainListener{inner})
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gives %v, want net.ErrClosed", err)
	}
}
