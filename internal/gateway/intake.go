package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"syscall"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// Sizes of the hello buffers, in bytes. A hello with a post-quantum key share is
// about 1.5 KiB. Only longer ones take a larger buffer, twice as large each time, up
// to one that has room for a PROXY header and the longest hello: whoever begins many
// hellos and ends none is not to take more memory than about twice what they sent.
const (
	smallHello = 4 << 10
	largeHello = maxHello + proxyHeaderLen + int(maxProxyHeader)
)

// Framing of a PROXY protocol v2 header (haproxy's proxy-protocol.txt, section
// 2.2): twelve bytes of signature, command, family, and a length.
const (
	proxyHeaderLen = 16
	maxProxyHeader = uint16(2048)
)

var (
	errHelloTimeout = errors.New("no complete hello in time")
	errHelloGone    = errors.New("client left before its hello was complete")
	errProxyHeader  = errors.New("no usable PROXY protocol v2 header from a trusted proxy")
)

var (
	intakes     = sync.Pool{New: func() any { return new(intake) }}
	smallHellos = sync.Pool{New: func() any { return new([smallHello]byte) }}
)

// intake reads a connection's first bytes up to the end of the ClientHello.
type intake struct {
	small *[smallHello]byte
	// got has the bytes received. The hello begins at header, behind the PROXY
	// header if there is one.
	got    []byte
	header int
	// proxied says that a PROXY header must come first.
	proxied bool
	source  netip.AddrPort // from the PROXY header, else zero
	scan    helloScan
	name    [maxDomain]byte
	nameLen int
}

// read takes bytes from the client until the hello is complete or refused, and
// for no longer than timeout.
func (in *intake) read(client *socket, timeout time.Duration) error {
	in.small = smallHellos.Get().(*[smallHello]byte)
	in.got = in.small[:0]
	var result error
	timed := false
	err := client.Read(func(fd uintptr) bool {
		done, err := in.fill(int(fd))
		if !done && !timed {
			// Most clients have sent everything by now, and need no timer.
			timed = true
			if err := client.setReadDeadline(time.Now().Add(timeout)); err != nil {
				result = fmt.Errorf("set hello deadline: %w", err)
				return true
			}
		}
		result = err
		return done
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errHelloTimeout, err)
	}
	if result == nil && timed {
		if err := client.setReadDeadline(time.Time{}); err != nil {
			return fmt.Errorf("clear hello deadline: %w", err)
		}
	}
	return result
}

// fill reads what has come. It is done when the hello is complete or refused.
func (in *intake) fill(fd int) (done bool, err error) {
	for {
		if len(in.got) == cap(in.got) && !in.grow() {
			return true, errHelloTooLong
		}
		n, err := recvfrom(fd, in.got[len(in.got):cap(in.got)])
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return false, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return true, fmt.Errorf("%w: %w", errHelloGone, err)
		case n == 0:
			return true, errHelloGone
		}
		in.got = in.got[:len(in.got)+n]
		if done, err := in.examine(); done || err != nil {
			return true, err
		}
	}
}

// examine looks for the end of the hello in what has been received.
func (in *intake) examine() (done bool, err error) {
	if in.proxied {
		if ok, err := in.proxyHeader(); !ok {
			return false, err
		}
	}
	msg, err := in.scan.scan(in.got[in.header:])
	if err != nil || msg == nil {
		return false, err
	}
	name, err := clientHelloName(msg)
	if err != nil {
		return false, err
	}
	normal, err := normalizeName(in.name[:0], name)
	if err != nil {
		return false, err
	}
	in.nameLen = len(normal)
	return true, nil
}

// proxyHeader takes the PROXY header off the front once it is complete.
func (in *intake) proxyHeader() (done bool, err error) {
	sign := min(len(in.got), len(proxyproto.SIGV2))
	if !bytes.Equal(in.got[:sign], proxyproto.SIGV2[:sign]) {
		return false, errProxyHeader
	}
	if len(in.got) < proxyHeaderLen {
		return false, nil
	}
	n := uint16(in.got[14])<<8 | uint16(in.got[15])
	if n > maxProxyHeader {
		return false, errProxyHeader
	}
	end := proxyHeaderLen + int(n)
	if len(in.got) < end {
		return false, nil
	}
	h, err := proxyproto.Read(bufio.NewReader(io.LimitReader(bytes.NewReader(in.got), int64(end))))
	if err != nil {
		return false, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	if src, _, ok := h.TCPAddrs(); ok && h.Command.IsProxy() {
		in.source = unmapped(src.AddrPort())
	}
	in.header, in.proxied = end, false
	return true, nil
}

// grow moves what has been received to a buffer twice as large; false if it is in the
// largest.
func (in *intake) grow() bool {
	size := min(2*cap(in.got), largeHello)
	if size == cap(in.got) {
		return false
	}
	in.got = append(make([]byte, 0, size), in.got...)
	return true
}

// domain is the name asked for, in normal form.
func (in *intake) domain() []byte { return in.name[:in.nameLen] }

// hello is what has to reach the enclave: everything received but the PROXY
// header.
func (in *intake) hello() []byte { return in.got[in.header:] }

// release gives the buffers back. What hello returned is gone after it.
func (in *intake) release() {
	if in.small != nil {
		smallHellos.Put(in.small)
	}
	in.small, in.got, in.scan.pieces = nil, nil, nil
}
