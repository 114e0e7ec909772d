package gateway

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is an address as the kernel takes and gives it (sockaddr(3type)). One
// for IPv4 has the same layout up to its port.
type sockaddr struct {
	raw unix.RawSockaddrInet6
	len uint32
}

func newSockaddr(a netip.AddrPort) *sockaddr {
	s := &sockaddr{}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.raw.Port))[:], a.Port())
	if a.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		v4.Family, v4.Addr, s.len = unix.AF_INET, a.Addr().As4(), unix.SizeofSockaddrInet4
		return s
	}
	s.raw.Family, s.raw.Addr, s.len = unix.AF_INET6, a.Addr().As16(), unix.SizeofSockaddrInet6
	return s
}

// addrPort is the address, an IPv4 address in IPv6 form as IPv4; the zero value
// if it is of another family.
func (s *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.raw.Port))[:])
	switch s.raw.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw)).Addr), port)
	case unix.AF_INET6:
		return unmapped(netip.AddrPortFrom(netip.AddrFrom16(s.raw.Addr), port))
	}
	return netip.AddrPort{}
}

// localAddr is the address of a socket on this side.
func localAddr(fd int) (netip.AddrPort, error) {
	s := sockaddr{len: unix.SizeofSockaddrInet6}
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd),
		uintptr(unsafe.Pointer(&s.raw)), uintptr(unsafe.Pointer(&s.len)))
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	return s.addrPort(), nil
}

// unmapped turns an IPv4 address in IPv6 form into IPv4.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
