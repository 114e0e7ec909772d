package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"runtime/pprof"
	"time"

	"github.com/casemate-dev/casemate/internal/gateway"
)

const domain = "bench.example.org"

// clientConfig does not verify: the benchmark's certificate is made anew in the
// server's process, and verifying it is no work of the proxy.
var clientConfig = &tls.Config{ServerName: domain, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}

// runServer is the TLS server behind both proxies.
func runServer(ctx context.Context) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{domain}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	announce(l.Addr().String())
	cfg := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, SessionTicketsDisabled: true,
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return nil // closed with the context
		}
		go func() {
			defer c.Close()
			answer(tls.Server(c, cfg))
		}()
	}
}

// runGateway is the gateway under test, with its defaults.
func runGateway(ctx context.Context, target, profile string) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	gateway.TuneRuntime()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	routes, err := gateway.OpenRoutes(gateway.RoutesConfig{Logger: log})
	if err != nil {
		return err
	}
	_, err = routes.Apply(ctx, gateway.Batch{ClusterID: "bench", Epoch: 1, Routes: []gateway.Route{{
		Domain: domain, Generation: 1, State: gateway.Serving, Enclave: "bench-r1-1", Endpoint: target,
	}}})
	if err != nil {
		return err
	}
	s, err := gateway.New(ctx, gateway.Config{
		Listen: []string{"127.0.0.1:0"}, Routes: routes, Logger: log, DrainTimeout: time.Second,
	})
	if err != nil {
		return err
	}
	announce(s.Addrs()[0].String())
	return s.Run(ctx)
}

// announce tells the parent where this part listens.
func announce(addr string) { fmt.Println(addr) }
