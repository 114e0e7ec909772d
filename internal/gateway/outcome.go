package gateway

import "errors"

// outcome is how a connection ended, as counted in the metrics.
type outcome int

const (
	outcomeOK outcome = iota
	outcomeHello
	outcomeNoRoute
	outcomeClosedRoute
	outcomeHoldFull
	outcomeHoldTimeout
	outcomeHoldGone
	outcomeBackendRefused
	outcomeBackendTimeout
	outcomeBackendUnreachable
	outcomeClientReset
	outcomeBackendReset
	outcomeHostLost
	outcomeIdle
	outcomeStopped
	outcomeLimit
	outcomeSourceLimit
	outcomeInternal
	outcomes
)

var outcomeNames = [outcomes]string{
	outcomeOK:                 "ok",
	outcomeHello:              "hello_refused",
	outcomeNoRoute:            "no_route",
	outcomeClosedRoute:        "route_closed",
	outcomeHoldFull:           "hold_full",
	outcomeHoldTimeout:        "hold_timeout",
	outcomeHoldGone:           "hold_client_gone",
	outcomeBackendRefused:     "backend_refused",
	outcomeBackendTimeout:     "backend_timeout",
	outcomeBackendUnreachable: "backend_unreachable",
	outcomeClientReset:        "client_reset",
	outcomeBackendReset:       "backend_reset",
	outcomeHostLost:           "host_lost",
	outcomeIdle:               "idle",
	outcomeStopped:            "stopped",
	outcomeLimit:              "over_limit",
	outcomeSourceLimit:        "over_source_limit",
	outcomeInternal:           "internal_error",
}

// Errors of a route lookup.
var (
	errNoRoute     = errors.New("no route for this name")
	errRouteClosed = errors.New("the route is closed")
)

// refusals says how a connection that is not joined ends, and what its client is
// told. The first error that matches counts.
var refusals = []struct {
	err     error
	outcome outcome
	alert   alert
}{
	{errSourceLimit, outcomeSourceLimit, 0},
	{errNoRoute, outcomeNoRoute, alertUnrecognizedName},
	{errRouteClosed, outcomeClosedRoute, alertInternalError},
	{errHoldFull, outcomeHoldFull, alertInternalError},
	{errHoldTimeout, outcomeHoldTimeout, alertInternalError},
	{errHoldGone, outcomeHoldGone, 0},
	{errStopping, outcomeStopped, alertInternalError},
	{errBackendRefused, outcomeBackendRefused, alertInternalError},
	{errBackendTimeout, outcomeBackendTimeout, alertInternalError},
	{errBackendUnreachable, outcomeBackendUnreachable, alertInternalError},
}

// helloRefusals does the same for hellos, with the reason as counted. No alert
// goes to a client that is gone, too slow, or not a TLS client's proxy.
var helloRefusals = []struct {
	err    error
	reason string
	alert  alert
}{
	{errHelloTimeout, "timeout", 0},
	{errHelloGone, "client_gone", 0},
	{errProxyHeader, "proxy_header", 0},
	{errNotTLS, "not_tls", alertDecodeError},
	{errHelloTooLong, "too_long", alertDecodeError},
	{errHelloSyntax, "malformed", alertDecodeError},
	{errNoName, "no_name", alertMissingExtension},
	{errBadName, "bad_name", alertUnrecognizedName},
}

// relayOutcome classifies the failure of one direction. fromClient says that the
// direction's source is the client.
func relayOutcome(err error, fromClient bool) outcome {
	var re *relayError
	if !errors.As(err, &re) {
		return outcomeInternal
	}
	if atClient := fromClient == (re.side == readSide); atClient {
		return outcomeClientReset
	}
	return outcomeBackendReset
}

// helloError marks errors of the hello, which have reasons of their own.
type helloError struct{ err error }

func (e *helloError) Error() string { return "hello: " + e.err.Error() }
func (e *helloError) Unwrap() error { return e.err }
