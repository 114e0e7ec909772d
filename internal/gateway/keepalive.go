package gateway

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// KeepAlive sets when the kernel gives up a peer that no longer answers.
type KeepAlive struct {
	// Idle is the silence before the first probe, Interval the time between two;
	// whole seconds. Count is how many may go unanswered.
	Idle, Interval time.Duration
	Count          int
}

// apply sets the options on a socket. On a listening one they pass to every
// connection it accepts (tcp(7)), which saves four calls a connection.
func (k KeepAlive) apply(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(k.Idle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set keepalive: %w", err)
		}
	}
	return nil
}
