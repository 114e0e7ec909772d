package dev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// killEnclaves ends the guests that outlived their agents, as they are meant to:
// those of this fleet's folder and of no other.
func (f *Fleet) killEnclaves() error {
	pids, err := f.Guests()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill guest %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// Guests lists the processes of this fleet's enclaves.
func (f *Fleet) Guests() ([]int, error) { return guests(f.Dir) }

// guests lists the processes whose command line names a guest with a folder
// below dir.
func guests(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended meanwhile
		}
		args := bytes.Split(line, []byte{0})
		if len(args) > 1 && bytes.HasSuffix(args[0], []byte("guest")) && bytes.Contains(line, []byte(dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
