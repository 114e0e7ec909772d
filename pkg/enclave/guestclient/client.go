package guestclient

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Errors of a Client.
var (
	// ErrKeyChanged: the server has another TLS key than the one met first. The
	// enclave was replaced, or somebody sits in between.
	ErrKeyChanged = errors.New("the enclave's TLS key is not the one met before")
	// ErrNoKey: nothing was connected yet, so there is no key.
	ErrNoKey = errors.New("no connection was made yet")
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 15 * time.Second

// Config says whom to call.
type Config struct {
	// Endpoint is host:port.
	Endpoint string
	// ServerName is sent as SNI; empty sends none.
	ServerName string
	// Dial makes the TCP connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds each call whose context has no deadline, and every dial with
	// its handshake; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Client calls one enclave. It may be used from several goroutines.
type Client struct {
	cfg  Config
	http *http.Client

	mu     sync.Mutex
	digest [sha256.Size]byte
	pinned bool
}

// New returns a client; it connects at the first call.
func New(cfg Config) (*Client, error) {
	if _, _, err := net.SplitHostPort(cfg.Endpoint); err != nil {
		return nil, fmt.Errorf("guest client: endpoint %.300q: %w", cfg.Endpoint, err)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	c := &Client{cfg: cfg}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialTLSContext:         c.dial,
			MaxConnsPerHost:        4,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a guest does not redirect")
		},
	}
	return c, nil
}

// Close ends idle connections. Calls in progress end with their contexts.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// KeyDigest is SHA-256 of the SubjectPublicKeyInfo of the enclave's TLS key, or
// ErrNoKey before the first connection.
func (c *Client) KeyDigest() ([sha256.Size]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pinned {
		return c.digest, ErrNoKey
	}
	return c.digest, nil
}

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	raw, err := c.cfg.Dial(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect to the guest at %s: %w", address, err)
	}
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: c.cfg.ServerName,
		// The certificate is self-signed: its key is pinned below, and proved by
		// evidence, not by a name.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection:   c.pin,
		NextProtos:         []string{"http/1.1"},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with the guest at %s: %w", address, err), ignoreClosed(raw.Close()))
	}
	return conn, nil
}

// pin runs inside the handshake: nothing is sent to a key that is not pinned.
func (c *Client) pin(state tls.ConnectionState) error {
	digest, err := digestOf(state.PeerCertificates)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned && c.digest != digest {
		return fmt.Errorf("%w: %x, now %x", ErrKeyChanged, c.digest, digest)
	}
	c.digest, c.pinned = digest, true
	return nil
}

func digestOf(chain []*x509.Certificate) (d [sha256.Size]byte, err error) {
	if len(chain) == 0 {
		return d, errors.New("the guest presented no certificate")
	}
	return sha256.Sum256(chain[0].RawSubjectPublicKeyInfo), nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
