package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every
// architecture Linux supports (proc(5), sysconf(3)).
const tick = 10 * time.Millisecond

// process is a part of the benchmark that runs on its own.
type process struct {
	name, addr string
	cmd        *exec.Cmd
	remove     string
}

// startPart runs this program again as one of its parts, and waits until it
// says where it listens.
func startPart(ctx context.Context, part string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-part", part}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", part, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", part, err)
	}
	p := &process{name: part, cmd: cmd}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the %s did not say where it listens: %w", part, err)
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}

// haproxyConfig is TCP mode, switched by server name, with as many threads as
// the gateway has processors, splicing with pipes as large as the gateway's, and
// no logs or statistics.
const haproxyConfig = `global
  maxconn 4000
  nbthread %d
  tune.pipesize 1048576
defaults
  mode tcp
  timeout connect 3s
  timeout client 1h
  timeout server 1h
  %s
  option dontlognull
frontend in
  bind %s
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend enclave if { req.ssl_sni -i %s }
backend enclave
  server one %s
`

func startHaproxy(ctx context.Context, name, splice, target string) (*process, error) {
	path, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, fmt.Errorf("haproxy is missing (Debian: apt-get install haproxy): %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatewaybench")
	if err != nil {
		return nil, fmt.Errorf("folder for haproxy: %w", err)
	}
	p := &process{name: name, addr: addr, remove: dir}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, threads(), splice, addr, domain, target), 0o600); err != nil {
		p.stop()
		return nil, fmt.Errorf("write haproxy's config: %w", err)
	}
	p.cmd = exec.CommandContext(ctx, path, "-db", "-f", file)
	var said bytes.Buffer
	p.cmd.Stderr = &said
	if err := p.cmd.Start(); err != nil {
		p.stop()
		return nil, fmt.Errorf("start haproxy: %w", err)
	}
	if err := awaitPort(ctx, addr); err != nil {
		p.stop()
		return nil, fmt.Errorf("haproxy does not answer: %w: %s", err, said.String())
	}
	return p, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitPort polls: haproxy does not say when it listens.
func awaitPort(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// stop ends the process and removes what was written for it.
func (p *process) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(syscall.SIGINT)
		kill := time.AfterFunc(3*time.Second, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait() // its status says only that it was told to end
		kill.Stop()
	}
	if p.remove != "" {
		_ = os.RemoveAll(p.remove)
	}
}

// cpu is the time the process has spent on a processor, in user mode and in the
// kernel: fields 14 and 15 of proc_pid_stat(5).
func (p *process) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	// The command in field 2 may hold anything; what follows it starts at field 3.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("CPU time of %s: %d fields in its stat", p.name, len(fields))
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
