package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config says how a Server behaves. The zero value of each field but Routes and
// the listeners means its default.
type Config struct {
	// Listen has the TCP addresses to accept on, Listeners sockets that are
	// already open (from systemd, or a test's); the server closes them. At least
	// one of both.
	Listen    []string
	Listeners []net.Listener
	// Routes is the table to serve from. Required.
	Routes *Routes
	// Source tells of route changes. Nil: the routes stay as they are.
	Source Source
	// SourceBackoff bounds the pause before a failed source is asked again:
	// 200 ms doubling up to 15 s, with jitter.
	SourceBackoff Backoff
	// Logger gets what an operator should know; slog.Default() if nil. Single
	// connections are counted, not logged.
	Logger *slog.Logger

	// HelloTimeout is how long a client may take to send its ClientHello (5 s),
	// DialTimeout how long an enclave may take to accept (3 s).
	HelloTimeout time.Duration
	DialTimeout  time.Duration
	// HoldTimeout is how long a connection waits for a held route that names no
	// time of its own (60 s).
	HoldTimeout time.Duration
	// MaxHeld and MaxHeldRoute bound the connections that wait, in all (4096) and
	// for one route (1024).
	MaxHeld      int
	MaxHeldRoute int
	// MaxConnections and MaxSource bound the open connections, in all (50,000) and
	// of one source address, an IPv6 /64 being one (2048). An eighth of a source's may
	// wait for held routes.
	MaxConnections int
	MaxSource      int

	// TrustedProxies are the addresses of proxies in front of the gateway, which
	// must begin each connection with a PROXY protocol v2 header. Their word on
	// the client's address is taken; nobody else's is.
	TrustedProxies []netip.Prefix
	// SendProxy begins each connection to an enclave with such a header.
	SendProxy bool

	// KeepAlive is set on both sockets of a connection (30 s, 10 s, 3); on the
	// enclave's at the first sweep.
	KeepAlive KeepAlive
	// IdleTimeout ends a connection without traffic (1 h), HalfTimeout one of
	// which a side has already ended its stream (5 min). Both are checked every
	// SweepInterval (5 s).
	IdleTimeout   time.Duration
	HalfTimeout   time.Duration
	SweepInterval time.Duration
	// DrainTimeout is how long open connections may go on after a stop (30 s).
	DrainTimeout time.Duration

	dial dialer // dialEndpoint, or a test's
}

// heldShare is the part of a source's connections that may wait for held routes.
const heldShare = 8

// Backoff bounds the growing pause between attempts.
type Backoff struct {
	Initial, Max time.Duration
}

// withDefaults fills what is unset and refuses what can't work.
func (c Config) withDefaults() (Config, error) {
	if c.Routes == nil {
		return c, errors.New("gateway config: no routes")
	}
	if len(c.Listen)+len(c.Listeners) == 0 {
		return c, errors.New("gateway config: no address to listen on")
	}
	for _, l := range c.Listeners {
		if _, ok := l.(*net.TCPListener); !ok {
			return c, fmt.Errorf("gateway config: listener %s is a %T, not a TCP listener", l.Addr(), l)
		}
	}
	if err := errors.Join(c.fillTimes(), c.fillNumbers()); err != nil {
		return c, err
	}
	if c.KeepAlive.Idle < time.Second || c.KeepAlive.Interval < time.Second {
		return c, errors.New("gateway config: keepalive times are whole seconds")
	}
	return c.withParts(), nil
}

func (c *Config) fillTimes() error {
	return errors.Join(
		fill(&c.HelloTimeout, 5*time.Second, "hello timeout"),
		fill(&c.DialTimeout, 3*time.Second, "dial timeout"),
		fill(&c.HoldTimeout, time.Minute, "hold timeout"),
		fill(&c.IdleTimeout, time.Hour, "idle timeout"),
		fill(&c.HalfTimeout, 5*time.Minute, "half-closed timeout"),
		fill(&c.SweepInterval, 5*time.Second, "sweep interval"),
		fill(&c.DrainTimeout, 30*time.Second, "drain timeout"),
		fill(&c.KeepAlive.Idle, 30*time.Second, "keepalive idle"),
		fill(&c.KeepAlive.Interval, 10*time.Second, "keepalive interval"),
		fill(&c.SourceBackoff.Initial, 200*time.Millisecond, "source backoff"),
		fill(&c.SourceBackoff.Max, 15*time.Second, "longest source backoff"),
	)
}

func (c *Config) fillNumbers() error {
	return errors.Join(
		fill(&c.MaxHeld, 4096, "held connections"),
		fill(&c.MaxHeldRoute, 1024, "held connections of a route"),
		fill(&c.MaxConnections, 50_000, "connections"),
		fill(&c.MaxSource, 2048, "connections of a source"),
		fill(&c.KeepAlive.Count, 3, "keepalive count"),
	)
}

func (c Config) withParts() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.dial == nil {
		c.dial = dialEndpoint
	}
	return c
}

func fill[T int | time.Duration](field *T, value T, name string) error {
	if *field < 0 {
		return fmt.Errorf("gateway config: %s is negative", name)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
