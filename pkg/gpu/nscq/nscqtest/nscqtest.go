// Package nscqtest makes doubles of libnvidia-nscq for tests: shared objects in C, for
// which it needs a C compiler, with the library's own functions, types and callbacks.
package nscqtest

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

//go:embed testdata/double.c
var source []byte

// object is the double, compiled once.
var object = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "nscqtest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	in, out := filepath.Join(dir, "double.c"), filepath.Join(dir, "double.so")
	if err := os.WriteFile(in, source, 0o600); err != nil {
		return nil, err
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc" // cgo's own default
	}
	cmd := exec.CommandContext(context.Background(), compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", out, in, "-ldl") //nolint:gosec // the compiler that built this test
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the double of NSCQ: %w\n%s", err, text)
	}
	return os.ReadFile(out)
})

// Switch is one that the library knows of.
type Switch struct {
	// Label is SWX- and a UUID in capitals.
	Label string
	// Chain is its certificate chain in PEM.
	Chain []byte
	// Reports are its reports by their nonces; Report is the one over any other nonce,
	// or nil where it makes none.
	Reports map[[32]byte][]byte
	Report  []byte
}

// Double is a library of its own, however often it is made.
type Double struct {
	t   testing.TB
	dir string
}

// New makes a library that knows these switches.
func New(t testing.TB, switches ...Switch) *Double {
	t.Helper()
	so, err := object()
	if err != nil {
		t.Fatal(err)
	}
	d := &Double{t: t, dir: t.TempDir()}
	d.write("libnvidia-nscq.so.2", so)
	var labels strings.Builder
	for _, s := range switches {
		labels.WriteString(s.Label + "\n")
		if err := os.Mkdir(filepath.Join(d.dir, s.Label), 0o700); err != nil {
			t.Fatal(err)
		}
		d.write(s.Label+"/chain", s.Chain)
		if s.Report != nil {
			d.write(s.Label+"/report", s.Report)
		}
		for nonce, report := range s.Reports {
			d.write(s.Label+"/report-"+hex.EncodeToString(nonce[:]), report)
		}
	}
	d.write("switches", []byte(labels.String()))
	return d
}

// File is the library's.
func (d *Double) File() string { return filepath.Join(d.dir, "libnvidia-nscq.so.2") }

// Script breaks the library: lines of a name and a number, as testdata/double.c reads
// them. An empty script mends it.
func (d *Double) Script(lines string) { d.write("script", []byte(lines)) }

// Call has every switch be called this.
func (d *Double) Call(label string) { d.write("label", []byte(label)) }

// Calls are those that were made, in their order.
func (d *Double) Calls() []string {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func (d *Double) write(name string, text []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), text, 0o600); err != nil {
		d.t.Fatal(err)
	}
}
