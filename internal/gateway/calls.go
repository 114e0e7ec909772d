package gateway

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls of every connection, made by hand. They never block, so the
// scheduler need not know of them; and telling it is dear: the first call that it
// is told of after all was quiet wakes the runtime's monitor, which then looks
// around every 20 µs until all is quiet again. In a gateway that is not busy all
// the time that was a sixth of its processor time.

// accept4 takes a connection from a listening socket.
func accept4(listener int, from *sockaddr) (int, error) {
	from.len = unix.SizeofSockaddrInet6
	fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener),
		uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&from.len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(fd), failed(errno)
}

// connect begins to connect; EINPROGRESS is no error.
func connect(fd int, to *sockaddr) error {
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), uintptr(to.len))
	if errno == syscall.EINPROGRESS {
		return nil
	}
	return failed(errno)
}

// recvfrom reads what is there.
func recvfrom(fd int, buf []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), failed(errno)
}

// sendto writes what there is room for. With nothing to write it tells whether the
// socket is connected: EAGAIN while it is not, else the reason why it will not be.
func sendto(fd int, buf []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), failed(errno)
}

func shutdown(fd, how int) error {
	_, _, errno := syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0)
	return failed(errno)
}

func setsockopt(fd, level, name, value int) error {
	v := int32(value)
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return failed(errno)
}

// tcpState is the state of a TCP socket, the first byte of its tcp_info.
func tcpState(fd int) (uint8, error) {
	var state uint8
	length := uint32(unsafe.Sizeof(state))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&state)), uintptr(unsafe.Pointer(&length)), 0)
	return state, failed(errno)
}

// closeRaw closes a descriptor that no socket has taken over.
func closeRaw(fd int) { _, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// failed is nil for 0, which as an error would not be.
func failed(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
