package dev

import (
	"net"
	"strconv"
	"testing"
)

func TestAFleetsPortsAreNoneThatOthersAreGiven(t *testing.T) {
	for range 50 {
		address, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		host, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if port, err := strconv.Atoi(text); err != nil || host != "127.0.0.1" || port < firstPort || port > lastPort {
			t.Errorf("%s is not on the loopback from port %d to %d (%v)", address, firstPort, lastPort, err)
		}
	}
}
