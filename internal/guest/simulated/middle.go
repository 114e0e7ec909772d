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
	"time"
)

// middle is a man in the middle on the host: it ends TLS on outer with a key of
// its own and passes everything to the guest at inner, until ctx ends.
func middle(ctx context.Context, outer net.Listener, inner string) error {
	config, err := foreignTLS()
	if err != nil {
		return err
	}
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
		joined.Go(func() { join(ctx, tls.Server(conn, config), inner) })
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

func join(ctx context.Context, outer net.Conn, inner string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = outer.Close() }()
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // an attacker does not verify
	}}
	conn, err := dialer.DialContext(ctx, "tcp", inner)
	if err != nil {
		return
	}
	context.AfterFunc(ctx, func() { _, _ = outer.Close(), conn.Close() })
	var copies sync.WaitGroup
	for _, way := range [][2]net.Conn{{outer, conn}, {conn, outer}} {
		copies.Go(func() {
			defer cancel()
			_, _ = io.Copy(way[0], way[1])
		})
	}
	copies.Wait()
}
