package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// moduleRoot is where the module is, seen from this package.
const moduleRoot = "../.."

// TestMain stops every shared fleet at the end and judges what it left behind.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	scratch = dir
	code := m.Run()
	if err := closeShared(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: closing the shared fleets:", err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	if code != 0 && os.Getenv("CASEMATE_E2E_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "state and logs are kept in", dir)
		return code
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// scratch holds the state of all fleets; its path is short enough for sockets.
var scratch string

// binaries returns the folder with the binaries.
var binaries = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("CASEMATE_BIN"); dir != "" {
		return dir, nil
	}
	dir := filepath.Join(scratch, "bin")
	for _, name := range []string{"agent", "coordinator", "gateway", "guest", "casemate"} {
		out := filepath.Join(dir, "casemate-"+name)
		if name == "casemate" {
			out = filepath.Join(dir, name)
		}
		if err := build(moduleRoot, out, "./cmd/"+name); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// grpcurl returns the path of grpcurl.
var grpcurl = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("CASEMATE_GRPCURL"); path != "" {
		return path, nil
	}
	path := filepath.Join(scratch, "bin", "grpcurl")
	return path, build(filepath.Join(moduleRoot, "tools", "grpcurl"), path, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
})

// sigstoreProgram returns the path of casemate-sigstore.
var sigstoreProgram = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("CASEMATE_BIN"); dir != "" {
		return filepath.Join(dir, "casemate-sigstore"), nil
	}
	path := filepath.Join(scratch, "bin", "casemate-sigstore")
	return path, build(filepath.Join(moduleRoot, "sigstore"), path, ".")
})

// build compiles a command as the Makefile does.
func build(dir, out, pkg string) error {
	path, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
