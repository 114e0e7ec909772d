package dev

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports that a fleet takes lie below those that Linux gives to connections and to
// whoever asks for any port (net.ipv4.ip_local_port_range, from 32768): a port in
// between is free when its process comes to listen, however busy the machine is.
const (
	firstPort = 20000
	lastPort  = 32767
	portTries = 100
)

// freeAddr returns a loopback address that is free now, and that hardly anybody else
// takes before a process listens there.
func freeAddr() (string, error) {
	var last error
	for range portTries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort+1))) //nolint:gosec // no secret
		l, err := net.Listen("tcp", address)                                                              //nolint:noctx // returns at once
		if err == nil {
			return address, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("find a free port from %d to %d: %w", firstPort, lastPort, last)
}
