package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// condition is how a link is.
type condition struct {
	// Cut links carry nothing.
	Cut bool
	// Delay is added in each direction; Loss is the share of frames that vanish.
	Delay time.Duration
	Loss  float64
}

// ethernet is a switch that carries frames between TAP devices, each in a
// namespace of its own, over links that can be cut, slow or lossy. The kernel's
// netem does the same, where it is built in; this works everywhere.
type ethernet struct {
	mu    sync.RWMutex
	links map[string]*link
	done  sync.WaitGroup
}

type link struct {
	tap *os.File
	is  condition
}

// maxFrame is an Ethernet frame with an MTU of 1500, and then some.
const maxFrame = 2048

func newEthernet() *ethernet { return &ethernet{links: map[string]*link{}} }

// plug adds a TAP device.
func (e *ethernet) plug(name string, tap *os.File) {
	l := &link{tap: tap}
	e.mu.Lock()
	e.links[name] = l
	e.mu.Unlock()
	e.done.Go(func() { e.carry(l) })
}

// set changes how a link is.
func (e *ethernet) set(name string, c condition) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.links[name]
	if l == nil {
		return fmt.Errorf("there is no link %s", name)
	}
	l.is = c
	return nil
}

// carry hands every frame of a link to all others: whom it is not for drops it.
func (e *ethernet) carry(from *link) {
	frame := make([]byte, maxFrame)
	for {
		n, err := from.tap.Read(frame)
		if err != nil {
			return // closed
		}
		e.mu.RLock()
		for _, to := range e.links {
			if to != from {
				deliver(frame[:n], from.is, to)
			}
		}
		e.mu.RUnlock()
	}
}

// deliver writes a frame, later if a link is slow. A frame that can't be written
// is lost, as on any network.
func deliver(frame []byte, from condition, to *link) {
	if from.Cut || to.is.Cut || rand.Float64() < from.Loss || rand.Float64() < to.is.Loss { //nolint:gosec // not a secret
		return
	}
	delay := from.Delay + to.is.Delay
	if delay == 0 {
		_, _ = to.tap.Write(frame)
		return
	}
	later := append([]byte(nil), frame...)
	time.AfterFunc(delay, func() { _, _ = to.tap.Write(later) })
}

func (e *ethernet) close() error {
	var errs []error
	e.mu.RLock()
	for _, l := range e.links {
		errs = append(errs, l.tap.Close())
	}
	e.mu.RUnlock()
	e.done.Wait()
	return errors.Join(errs...)
}

// openTAP makes a TAP device in the namespace of the calling thread.
func openTAP(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun (load the module tun): %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("name a TAP device: %w", err), unix.Close(fd))
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(request))); errno != 0 {
		return nil, errors.Join(fmt.Errorf("make TAP device %s: %w", name, errno), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}
