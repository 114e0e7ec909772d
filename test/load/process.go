package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// args are the flags that make another process of this program measure the same.
func (o options) args(part string, hosts int) []string {
	return []string{
		"-part", part, "-hosts", strconv.Itoa(hosts), "-containers", strconv.Itoa(o.perHost),
		"-revisions", strconv.Itoa(o.revisions), "-plans", strconv.Itoa(o.plans),
		"-in-flight", strconv.Itoa(o.inFlight), "-updates", strconv.Itoa(o.updates),
		"-store", o.store, "-profile", o.profile, "-limit", o.maxPerSize.String(),
	}
}

// measureSize runs one size in a process of its own.
func measureSize(ctx context.Context, o options, hosts int) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.maxPerSize)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return result{}, fmt.Errorf("find this program: %w", err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, o.args("size", hosts)...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return result{}, fmt.Errorf("measure: %w", err)
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return result{}, fmt.Errorf("read what was measured: %w", err)
	}
	return r, nil
}

// simulation is the process in which the hosts are simulated.
type simulation struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	socket string
}

// simulate starts the hosts' process and waits until it listens.
func simulate(ctx context.Context, o options, socket string) (*simulation, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	s := &simulation{socket: socket}
	s.cmd = exec.CommandContext(ctx, self, append(o.args("hosts", o.sizes[0]), "-socket", socket)...)
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("simulate hosts: %w", err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("simulate hosts: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("simulate hosts: %w", err)
	}
	s.out = bufio.NewScanner(out)
	if !s.out.Scan() {
		return nil, errors.Join(errGone, s.stop())
	}
	return s, nil
}

// tell sends a command and returns the answer.
func (s *simulation) tell(command string) (string, error) {
	if _, err := io.WriteString(s.in, command+"\n"); err != nil {
		return "", fmt.Errorf("tell the simulated hosts: %w", err)
	}
	if !s.out.Scan() {
		return "", errGone
	}
	return strings.TrimSpace(s.out.Text()), nil
}

func (s *simulation) stop() error {
	return errors.Join(s.in.Close(), s.cmd.Wait())
}
