package dev

import (
	"context"
	"net"
)

// Ports of parts that have an address of their own.
const (
	apiPort     = "7443"
	trafficPort = "443"
	adminPort   = "9443"
)

// Place is where a process of a fleet runs. The zero place is this machine's
// loopback, with sockets between coordinator, agents and gateways.
type Place struct {
	// Command runs the command line that is put after it, such as
	// "ip netns exec NAME"; the process id stays the same.
	Command []string
	// API is the IP on which the coordinator and agents are called, Traffic the
	// one on which enclaves and gateways serve. A place has both or neither.
	API, Traffic string
	// Dial connects to these IPs; nil if this process reaches them by itself.
	Dial Dial
}

// Dial connects to an IP and port.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// place returns where a process runs, by its name: coordinator, agent-1, gateway-1.
func (f *Fleet) place(name string) Place {
	if f.Place == nil {
		return Place{}
	}
	return f.Place(name)
}

// start starts a daemon in its place.
func (f *Fleet) start(name, daemon string) (*Process, error) {
	line := append(append([]string{}, f.place(name).Command...), f.Binary(daemon), "--config", f.file(name+".yaml"))
	return startProcess(f.Dir, name, line[0], line[1:]...)
}

// AgentAddress is where the coordinator calls the n-th agent.
func (f *Fleet) AgentAddress(n int) string {
	if ip := f.place(agentName(n)).API; ip != "" {
		return net.JoinHostPort(ip, apiPort)
	}
	return f.AgentSocket(n)
}

// coordinatorAddress is where gateways call the coordinator.
func (f *Fleet) coordinatorAddress() string {
	if ip := f.place("coordinator").API; ip != "" {
		return net.JoinHostPort(ip, apiPort)
	}
	return f.Socket()
}

// address is ip:port, or a loopback address that is free now if ip is empty.
func address(ip, port string) (string, error) {
	if ip != "" {
		return net.JoinHostPort(ip, port), nil
	}
	return freeAddr()
}
