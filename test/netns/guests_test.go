package netns

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// pids returns the guests of the fleet that live: process ids by enclave.
func (f *fleet) pids(t *testing.T) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := bytes.Split(bytes.TrimRight(line, "\x00"), []byte{0})
		if err != nil || !bytes.HasSuffix(args[0], []byte("casemate-guest")) {
			continue // not a guest, or it has ended meanwhile
		}
		dir := string(args[len(args)-1])
		if rel, err := filepath.Rel(f.Dir, dir); err != nil || !filepath.IsLocal(rel) {
			continue // of another fleet
		}
		enclave := filepath.Base(dir)
		if other, twice := found[enclave]; twice {
			t.Fatalf("enclave %s was started twice: processes %d and %d", enclave, other, pid)
		}
		found[enclave] = pid
	}
	return found
}

// guests lists the enclaves that live.
func (f *fleet) guests(t *testing.T) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(f.pids(t)))
}

// kill ends an enclave's process at once.
func (f *fleet) kill(t *testing.T, enclave string) {
	t.Helper()
	pid := f.pids(t)[enclave]
	if pid == 0 {
		t.Fatalf("enclave %s does not run: %v", enclave, f.guests(t))
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
