package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"
)

// runNaive is the least that can be written: a TLS server that reads the hello
// and gives up, and two io.Copy, which splice. It has no limits, no deadlines but
// one, no counts and no draining, and shows what those cost.
func runNaive(ctx context.Context, target string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	announce(l.Addr().String())
	for {
		c, err := l.Accept()
		if err != nil {
			return nil // closed with the context
		}
		go joinNaively(c.(*net.TCPConn), target)
	}
}

func joinNaively(client *net.TCPConn, target string) {
	defer client.Close()
	tee := &teeConn{Conn: client}
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
	name := ""
	_ = tls.Server(tee, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = h.ServerName
		return nil, io.EOF
	}}).Handshake() // it fails, by the line above
	_ = client.SetReadDeadline(time.Time{})
	if name != domain {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := server.Write(tee.read); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}

// teeConn keeps what is read and lets nothing be written.
type teeConn struct {
	net.Conn
	read []byte
}

// Read implements net.Conn.
func (t *teeConn) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.read = append(t.read, b[:n]...)
	return n, err
}

// Write implements net.Conn.
func (t *teeConn) Write(b []byte) (int, error) { return len(b), nil }
