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
	cert   *x509.Certificate
	pinned bool
}

// New returns a client; it connects at the first call.
func New(cfg Config) (*Client, error) {
	if _, _, err := net.SplitHostPort(cfg.Endpoint); err != nil {
		return nil, fmt.Errorf("guest client: endpoint %.300q: %w", cfg.Endpoint, err)
	}
	c := &Client{cfg: cfg.filled()}
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

// Certificate is what the enclave presented with its key, or ErrNoKey before the
// first connection. Evidence binds the key and not the certificate: what it says
// counts only if that key has signed it.
func (c *Client) Certificate() (*x509.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pinned {
		return nil, ErrNoKey
	}
	return c.cert, nil
}

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return Dial(ctx, c.cfg, c.pin)
}

// Dial makes a connection of its own to an enclave, TLS 1.3. The certificate is
// self-signed and says nothing by itself: check sees it, with the digest of its
// key, inside the handshake, and what check refuses gets no byte.
func Dial(ctx context.Context, cfg Config, check func(key [sha256.Size]byte, cert *x509.Certificate) error) (*tls.Conn, error) {
	cfg = cfg.filled()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	raw, err := cfg.Dial(ctx, "tcp", cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("connect to the guest at %s: %w", cfg.Endpoint, err)
	}
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: cfg.ServerName,
		// The certificate is self-signed: its key is checked below, and proved by
		// evidence, not by a name.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(state tls.ConnectionState) error {
			digest, err := digestOf(state.PeerCertificates)
			if err != nil {
				return err
			}
			return check(digest, state.PeerCertificates[0])
		},
		NextProtos: []string{"http/1.1"},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with the guest at %s: %w", cfg.Endpoint, err), ignoreClosed(raw.Close()))
	}
	return conn, nil
}

func (c Config) filled() Config {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return c
}

// pin runs inside the handshake: nothing is sent to a key that is not pinned.
func (c *Client) pin(digest [sha256.Size]byte, cert *x509.Certificate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned && c.digest != digest {
		return fmt.Errorf("%w: %x, now %x", ErrKeyChanged, c.digest, digest)
	}
	c.digest, c.cert, c.pinned = digest, cert, true
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
