package gateway

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// State says what the gateway does with a new connection to a route.
type State string

// The states of a route.
const (
	// Serving joins new connections to the enclave.
	Serving State = "serving"
	// Held lets new connections wait for another version of the route, up to its
	// hold timeout: the enclave is being replaced.
	Held State = "held"
	// Closed refuses new connections: the container is stopped, its domain kept.
	Closed State = "closed"
)

// maxText bounds the identifiers in a route, in bytes.
const maxText = 256

// maxHold bounds how long a route may let connections wait.
const maxHold = time.Hour

// Route says which enclave serves a domain. It is a value and never changes: a
// change is another Route with a higher generation.
type Route struct {
	// Domain is the server name clients ask for, in normal form.
	Domain string
	// Generation grows with every change of the domain's route; the gateway never
	// goes back. It is at least 1.
	Generation int64
	// State says what happens to new connections.
	State State
	// Enclave is the id of the enclave that serves; empty if the state is Held or
	// Closed and nothing serves.
	Enclave string
	// Endpoint is the enclave's host:port. Required if the state is Serving.
	Endpoint string
	// Container is the uid or name of the container, for logs and counts.
	Container string
	// HoldTimeout is how long a connection may wait while the route is Held; zero
	// means the gateway's own default. At most an hour.
	HoldTimeout time.Duration
}

// Normalize returns the route with its domain in normal form, or the reason why
// it can't be used.
func (r Route) Normalize() (Route, error) {
	domain, err := NormalizeDomain(r.Domain)
	if err != nil {
		return Route{}, err
	}
	r.Domain = domain
	if r.Generation < 1 {
		return Route{}, fmt.Errorf("route %s: generation %d is below 1", domain, r.Generation)
	}
	for _, text := range []string{r.Enclave, r.Container, r.Endpoint} {
		if err := checkText(text); err != nil {
			return Route{}, fmt.Errorf("route %s: %w", domain, err)
		}
	}
	if r.HoldTimeout < 0 || r.HoldTimeout > maxHold {
		return Route{}, fmt.Errorf("route %s: hold timeout %s is not between 0 and %s", domain, r.HoldTimeout, maxHold)
	}
	if err := r.checkState(); err != nil {
		return Route{}, fmt.Errorf("route %s: %w", domain, err)
	}
	return r, nil
}

// checkText refuses identifiers that would not be safe in a log or a listing.
func checkText(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("an identifier is longer than %d bytes", maxText)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return fmt.Errorf("identifier %q has a byte that is not printable ASCII", clip(text))
		}
	}
	return nil
}

func (r Route) checkState() error {
	switch r.State {
	case Serving:
		if r.Enclave == "" {
			return errors.New("a serving route names no enclave")
		}
		return checkEndpoint(r.Endpoint)
	case Held, Closed:
		if r.Endpoint == "" {
			return nil
		}
		return checkEndpoint(r.Endpoint)
	default:
		return fmt.Errorf("state %q is not serving, held or closed", clip(string(r.State)))
	}
}

func checkEndpoint(endpoint string) error {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return fmt.Errorf("endpoint %q is not host:port: %w", clip(endpoint), err)
	}
	if host == "" {
		return fmt.Errorf("endpoint %q names no host", clip(endpoint))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("endpoint %q has no port between 1 and 65535", clip(endpoint))
	}
	return nil
}
