package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/casemate-dev/casemate/internal/dev"
)

// network is a set of namespaces, each with a link to the network of calls and
// one to the network of traffic. Nothing leads out of either.
type network struct {
	prefix string
	calls  *ethernet
	nodes  map[string]dev.Place
}

var networks atomic.Int64

// wire is the namespace of the bridge.
const wire = "wire"

// newNetwork makes a network with these nodes.
func newNetwork(nodes ...string) (_ *network, retErr error) {
	n := &network{prefix: fmt.Sprintf("%s%d-", prefix, networks.Add(1)), calls: newEthernet(), nodes: map[string]dev.Place{}}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, n.calls.close())
		}
	}()
	if err := ip("netns add "+n.ns(wire), "-n "+n.ns(wire)+" link add bridge type bridge", "-n "+n.ns(wire)+" link set bridge up"); err != nil {
		return nil, err
	}
	for i, name := range nodes {
		if err := n.add(name, i+1); err != nil {
			return nil, fmt.Errorf("add %s to the network: %w", name, err)
		}
	}
	return n, nil
}

// ns is the name of a node's namespace.
func (n *network) ns(node string) string { return n.prefix + node }

// add makes a node: 10.1.0.i for calls, 10.2.0.i for traffic.
func (n *network) add(node string, i int) error {
	ns, port := n.ns(node), fmt.Sprintf("port%d", i)
	p := dev.Place{
		Command: []string{"ip", "netns", "exec", ns},
		API:     fmt.Sprintf("10.1.0.%d", i), Traffic: fmt.Sprintf("10.2.0.%d", i),
		Dial: n.dialer(node),
	}
	err := ip(
		"netns add "+ns,
		"-n "+ns+" link set lo up",
		"-n "+n.ns(wire)+" link add "+port+" type veth peer name traffic netns "+ns,
		"-n "+n.ns(wire)+" link set "+port+" master bridge up",
		"-n "+ns+" address add "+p.Traffic+"/24 dev traffic",
		"-n "+ns+" link set traffic up",
	)
	if err != nil {
		return err
	}
	var tap *os.File
	err = within(ns, func() (err error) {
		tap, err = openTAP("calls")
		return err
	})
	if err != nil {
		return err
	}
	n.calls.plug(node, tap)
	n.nodes[node] = p
	return ip("-n "+ns+" address add "+p.API+"/24 dev calls", "-n "+ns+" link set calls up")
}

// place is where a fleet's process of that name runs.
func (n *network) place(process string) dev.Place { return n.nodes[process] }

// traffic takes a node off the network of traffic, or puts it back.
func (n *network) traffic(node string, up bool) error {
	state := map[bool]string{true: "up", false: "down"}[up]
	return ip(fmt.Sprintf("-n %s link set port%s %s", n.ns(wire), n.nodes[node].API[len("10.1.0."):], state))
}

// dialer dials from a node.
func (n *network) dialer(node string) dev.Dial {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = within(n.ns(node), func() (err error) {
			var d net.Dialer
			conn, err = d.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// within runs f on a thread that is in a namespace: sockets and devices that it
// makes belong there for ever. f must not start goroutines for that.
func within(ns string, f func() error) error {
	target, err := os.Open(filepath.Join("/run/netns", ns))
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer func() { _ = target.Close() }()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open this thread's namespace: %w", err)
	}
	defer func() { _ = home.Close() }()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", ns, err)
	}
	done := f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		// The thread stays locked, so that it ends with this goroutine.
		return errors.Join(done, fmt.Errorf("leave namespace %s: %w", ns, err))
	}
	runtime.UnlockOSThread()
	return done
}

// ip runs iproute2, once per line of arguments.
func ip(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}
