package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/attested"
)

// bufferSize is that of one direction: two TLS records.
const bufferSize = 32 << 10

// pair is a connection of this machine and the one to the enclave that it goes on in.
type pair struct {
	near net.Conn
	far  *attested.Conn
	key  [32]byte
	once sync.Once
}

// carry passes bytes both ways until both have ended, or nothing came for idle.
func (p *pair) carry(idle time.Duration) {
	timer := time.AfterFunc(idle, p.cut)
	defer timer.Stop()
	var out sync.WaitGroup
	out.Go(func() { p.copy(p.far, p.near, func() { timer.Reset(idle) }) })
	p.copy(p.near, p.far, func() { timer.Reset(idle) })
	out.Wait()
	_ = p.far.Close()
	_ = p.near.Close()
}

// copy carries one direction. Its end is passed on as an end; what breaks cuts both,
// so that a truncated answer doesn't look like a whole one.
func (p *pair) copy(to, from net.Conn, alive func()) {
	buf := make([]byte, bufferSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			alive()
			if _, err := to.Write(buf[:n]); err != nil {
				p.cut()
				return
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			p.cut()
			return
		}
		_ = closeWrite(to) // if it has gone, the other direction sees it
		return
	}
}

// cut ends both sides at once; the near one sees that it was no orderly end.
func (p *pair) cut() {
	p.once.Do(func() {
		reset(p.near)
		_ = p.near.Close()
		_ = p.far.NetConn().Close()
	})
}

// reset makes closing a connection abort it.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed anyhow
	}
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
