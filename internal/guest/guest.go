package guest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
)

// Bounds on what a peer may send before it is known what for.
const (
	headerDeadline = 10 * time.Second
	idleDeadline   = 2 * time.Minute
	maxHeader      = 64 << 10
)

// Guest is one boot of an enclave.
type Guest struct {
	cfg       Config
	identity  *identity
	board     *board
	nonces    *nonceLog
	vault     *vault
	attesting chan struct{} // slots
	upstream  atomic.Pointer[shim]
	requests  *inflight
	door      *lastCall
	callers   *callers
	server    *http.Server
}

// New checks the parts and makes this boot's key. Run does everything else.
func New(cfg Config) (*Guest, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	id, err := newIdentity(cfg.Platform.GetDomain(), cfg.Clock.Now())
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	g := &Guest{
		cfg: cfg, identity: id, board: newBoard(cfg.Clock), nonces: newNonceLog(),
		attesting: make(chan struct{}, maxAttestations), requests: newInflight(),
		door: newLastCall(cfg.Listener), callers: newCallers(),
	}
	g.vault = newVault(cfg.Platform.GetSecretsKey(), id.digest, g.nonces)
	g.server = &http.Server{
		Handler: g.handler(), ReadHeaderTimeout: headerDeadline, IdleTimeout: idleDeadline, MaxHeaderBytes: maxHeader,
		ConnState: g.callers.track,
		ErrorLog:  slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.certificate}},
	}
	return g, nil
}

// KeyDigest is SHA-256 of the SubjectPublicKeyInfo of this boot's TLS key.
func (g *Guest) KeyDigest() [32]byte { return g.identity.digest }

// Run serves from the moment it is called, boots, and goes on until powerOff is
// closed: the power button. It then lets in who is connected already, stops
// accepting, lets requests in flight end within the grace time, stops the containers in reverse order, and returns. The
// end of ctx is a power cut: everything ends at once. A boot that fails is shown
// in the boot status; Run goes on, so that it can be read. Run is called once.
func (g *Guest) Run(ctx context.Context, powerOff <-chan struct{}) error {
	served := make(chan error, 1)
	go func() {
		served <- g.server.ServeTLS(netutil.LimitListener(g.door, g.cfg.MaxConnections), "", "")
	}()
	booting, stopBoot := context.WithCancel(ctx)
	defer stopBoot()
	booted := make(chan []started, 1)
	go func() { booted <- g.boot(booting) }()

	var failure error
	select {
	case <-powerOff:
	case <-ctx.Done():
		failure = ctx.Err()
	case err := <-served:
		failure = fmt.Errorf("serve: %w", err)
		served <- err
	}
	g.cfg.Log.Info("powering off")
	g.board.setStopping()
	stopBoot()
	g.drain(ctx, served)
	stopped := stopContainers(ctx, <-booted)
	<-served //nolint:errcheck // the server was closed on purpose
	return errors.Join(failure, stopped)
}

func (g *Guest) handler() http.Handler {
	own := g.own()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, done := g.requests.begin(r.Context())
		defer done()
		r = r.WithContext(ctx)
		if r.ProtoMajor > 1 && g.board.stopping() {
			w.Header().Set("Connection", "close") // no new streams; HTTP/1 does so by itself
		}
		if strings.HasPrefix(r.URL.Path, guestapi.Prefix) {
			own.ServeHTTP(w, r)
			return
		}
		g.serveUpstream(w, r)
	})
}
