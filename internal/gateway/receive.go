package gateway

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inqLen is the space of one int32 control message (cmsg(3)).
const inqLen = unix.SizeofCmsghdr + 8

// receiver reads from a socket. It is reused, and belongs to one goroutine. With
// TCP_INQ it knows when the socket is empty, without the second read that would
// say EAGAIN: a quarter of all calls of a small exchange.
type receiver struct {
	msg     unix.Msghdr
	iov     unix.Iovec
	control [inqLen]byte
}

// askInq makes the kernel report with each read how much is left (tcp(7),
// TCP_INQ; Linux 4.18). From a listening socket it passes to what that accepts.
func askInq(fd int) error {
	if err := setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INQ, 1); err != nil {
		return fmt.Errorf("set TCP_INQ: %w", err)
	}
	return nil
}

// receive reads what is there, without waiting. more is false only if the kernel
// says that nothing is left: neither bytes nor the end of the stream. A reset is
// not told; the next write or the sweep finds it.
func (r *receiver) receive(fd int, buf []byte) (n int, more bool, err error) {
	r.iov.Base = &buf[0]
	r.iov.SetLen(len(buf))
	r.msg = unix.Msghdr{Iov: &r.iov, Control: &r.control[0]}
	r.msg.SetIovlen(1)
	r.msg.SetControllen(len(r.control))
	got, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), unix.MSG_DONTWAIT)
	r.iov.Base = nil // the buffer goes back to its pool
	if errno != 0 {
		return 0, false, errno
	}
	return int(got), r.left() != 0, nil
}

// left is the number in the control message, or 1 if there is none.
func (r *receiver) left() int32 {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[0]))
	if int(r.msg.Controllen) < unix.SizeofCmsghdr+4 || h.Level != unix.SOL_TCP || h.Type != unix.TCP_CM_INQ {
		return 1
	}
	return *(*int32)(unsafe.Pointer(&r.control[unix.SizeofCmsghdr]))
}
