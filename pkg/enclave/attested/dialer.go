package attested

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/enclave/guestclient"
)

// DefaultInterval is how long a verdict counts.
const DefaultInterval = 10 * time.Minute

// Errors of a Dialer.
var (
	// ErrKeyUnsteady: every connection had another key than the one that was just
	// attested.
	ErrKeyUnsteady = errors.New("the enclave shows another key with every connection")
	// ErrCutShort: a connection ended, and it was not the enclave that ended it.
	ErrCutShort = errors.New("the connection was cut: the enclave has not ended it")
)

// errNotProved makes a handshake fail with a key for which there is no verdict.
var errNotProved = errors.New("no verdict on this key")

const (
	// maxTries bounds new verdicts for one connection: at a switch to another enclave
	// the evidence may still come from the one before.
	maxTries = 4
	// maxKeys bounds the keys whose verdicts are kept: an enclave and its successor.
	maxKeys = 16
	// connectTimeout bounds a connection with its handshake.
	connectTimeout = 15 * time.Second
)

// DialerConfig says how connections are made.
type DialerConfig struct {
	// Client judges the enclave.
	Client *Client
	// Interval is how long a verdict counts; 0 means DefaultInterval.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Told is told every verdict, one after another; nil tells nobody.
	Told func(*Proof)
}

// Dialer makes connections to an enclave whose key was attested no longer ago than
// an interval. It is safe for concurrent use.
type Dialer struct {
	cfg    DialerConfig
	target guestclient.Config
	// turn is held by who asks for a verdict.
	turn chan struct{}

	mu     sync.Mutex
	proved map[[sha256.Size]byte]time.Time
	// rounds counts verdicts and failures to get one; failed is how the last ended.
	rounds uint64
	failed error
}

// Conn is a connection whose other end is the attested enclave.
type Conn struct {
	*tls.Conn
	// Key is the digest of its key, as in Proof.
	Key [sha256.Size]byte
}

// NewDialer returns a Dialer, which connects to nothing yet.
func NewDialer(cfg DialerConfig) (*Dialer, error) {
	if cfg.Client == nil || cfg.Interval < 0 {
		return nil, errors.New("attested dialer: a client is required, and the interval must not be negative")
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Dialer{cfg: cfg, target: cfg.Client.target, turn: make(chan struct{}, 1), proved: map[[sha256.Size]byte]time.Time{}}
	d.target.Timeout = connectTimeout
	dial := d.target.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	d.target.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return whole{c}, nil
	}
	return d, nil
}

// whole is a connection beneath TLS whose end is an error: only close_notify, which
// the enclave alone can send, is an end. Otherwise whoever sits on the way could cut
// an answer short between two records without a trace.
type whole struct{ net.Conn }

// Read implements net.Conn.
func (w whole) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = ErrCutShort // crypto/tls would take io.ErrUnexpectedEOF for an end
	}
	return n, err
}

// Dial makes a connection. A key without a verdict, or with one that is older than
// the interval, is attested first; if the verdict refuses it, the error is that of
// the verdict (*attest.RefusedError), and no byte has passed.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	if !d.any() {
		if err := d.Verify(ctx); err != nil {
			return nil, err
		}
	}
	for range maxTries {
		conn, err := guestclient.Dial(ctx, d.target, d.check)
		if err == nil {
			return d.made(conn), nil
		}
		if !errors.Is(err, errNotProved) {
			return nil, err
		}
		if err := d.Verify(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %d verdicts were made", ErrKeyUnsteady, maxTries)
}

func (d *Dialer) made(conn *tls.Conn) *Conn {
	cert := conn.ConnectionState().PeerCertificates[0] // the handshake has checked it
	return &Conn{Conn: conn, Key: sha256.Sum256(cert.RawSubjectPublicKeyInfo)}
}

// Verify gets a verdict now. Callers that come while one is being made share it.
func (d *Dialer) Verify(ctx context.Context) error {
	before := d.round()
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.turn }()
	d.mu.Lock()
	shared, failed := d.rounds != before, d.failed
	d.mu.Unlock()
	if shared {
		return failed
	}
	proof, err := d.cfg.Client.Verify(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.ended(err)
		}
		return err
	}
	err = proof.Verdict.Err()
	d.keep(proof.Key, err == nil)
	d.ended(err)
	if d.cfg.Told != nil {
		d.cfg.Told(proof)
	}
	return err
}

func (d *Dialer) round() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rounds
}

func (d *Dialer) ended(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rounds++
	d.failed = err
}

// keep remembers a key that was accepted and forgets one that was refused.
func (d *Dialer) keep(key [sha256.Size]byte, accepted bool) {
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !accepted {
		delete(d.proved, key)
		return
	}
	d.proved[key] = now
	for len(d.proved) > maxKeys {
		oldest := key
		for k, at := range d.proved {
			if at.Before(d.proved[oldest]) {
				oldest = k
			}
		}
		delete(d.proved, oldest)
	}
}

// any tells whether there is a key whose verdict counts.
func (d *Dialer) any() bool {
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, at := range d.proved {
		if now.Sub(at) < d.cfg.Interval {
			return true
		}
		delete(d.proved, k)
	}
	return false
}

// check runs inside the handshake.
func (d *Dialer) check(key [sha256.Size]byte, _ *x509.Certificate) error {
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.proved[key]; ok && now.Sub(at) < d.cfg.Interval {
		return nil
	}
	return errNotProved
}
