package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// congestionFile has the congestion control of new sockets (tcp(7)); each network
// namespace has its own.
const congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control"

// congestionControl is that of this process's network.
func congestionControl() string {
	name, err := os.ReadFile(congestionFile)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(name))
}

// runInNamespace runs this program with the same flags once more, as the part
// "namespace" in a network of its own.
func runInNamespace(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-part", namespace}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if id := os.Geteuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make a network namespace (root may, and everybody where user namespaces are on): %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("in the network namespace: %w", err)
	}
	return nil
}

// prepareNamespace makes the loopback of a new namespace usable.
func prepareNamespace(congestion string) error {
	if err := os.WriteFile(congestionFile, []byte(congestion), 0); err != nil {
		return fmt.Errorf("use the congestion control %q (reno is everywhere; others as in tcp_allowed_congestion_control): %w", congestion, err)
	}
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("name the loopback device: %w", err)
	}
	lo.SetUint16(unix.IFF_UP)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(lo))); errno != 0 {
		err = fmt.Errorf("set the loopback device up: %w", errno)
	}
	return errors.Join(err, unix.Close(fd))
}
