package simulated

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// middle is a man in the middle on the host. It passes everything on to the guest
// and keeps all that it sees in the enclave's folder.
type middle struct {
	// guest is where the guest listens.
	guest string
	// foreign ends TLS with a key of the host's own; nil passes bytes as they are.
	foreign *tls.Config
	dir     guestdir.Dir

	connections atomic.Int64
}

// newMiddle is one that ends TLS with a key of its own, or only listens in.
func newMiddle(dir guestdir.Dir, guest string, endsTLS bool) (*middle, error) {
	m := &middle{guest: guest, dir: dir}
	if !endsTLS {
		return m, nil
	}
	var err error
	m.foreign, err = foreignTLS()
	return m, err
}

// run serves on outer until ctx ends.
func (m *middle) run(ctx context.Context, outer net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = outer.Close() })
	var joined sync.WaitGroup
	defer joined.Wait()
	for {
		conn, err := outer.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept in the middle: %w", err)
		}
		joined.Go(func() { m.join(ctx, conn) })
	}
}

func foreignTLS() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the foreign key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the foreign certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}, nil
}

func (m *middle) dial(ctx context.Context) (net.Conn, error) {
	if m.foreign == nil {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", m.guest)
	}
	d := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // an attacker does not verify
	}}
	return d.DialContext(ctx, "tcp", m.guest)
}

// join passes a connection on; what can't be kept is not passed.
func (m *middle) join(ctx context.Context, outer net.Conn) {
	if m.foreign != nil {
		outer = tls.Server(outer, m.foreign)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = outer.Close() }()
	conn, err := m.dial(ctx)
	if err != nil {
		return
	}
	context.AfterFunc(ctx, func() { _, _ = outer.Close(), conn.Close() })
	number := m.connections.Add(1)
	var copies sync.WaitGroup
	for _, way := range []struct {
		name     string
		to, from net.Conn
	}{{"out", outer, conn}, {"in", conn, outer}} {
		copies.Go(func() {
			defer cancel()
			kept, err := m.dir.Wire(fmt.Sprintf("%d-%s", number, way.name))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.MultiWriter(kept, way.to), way.from)
			_ = kept.Close()
		})
	}
	copies.Wait()
}
