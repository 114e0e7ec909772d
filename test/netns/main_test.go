package netns

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// scratch holds the state of all fleets; its path is short enough for sockets.
var scratch string

// TestMain refuses to pass over what it can't run, and leaves nothing behind.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if os.Getenv("CASEMATE_NO_NETNS") != "" {
		fmt.Println("NOT RUN, because CASEMATE_NO_NETNS is set: kills, stops and cut links of real processes in network namespaces (test/netns)")
		return 0
	}
	code := 1
	err := able()
	if err == nil {
		code, err = prepared(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	return code
}

// able says what is missing to run these tests.
func able() error {
	if os.Geteuid() != 0 {
		return errors.New("test/netns makes network namespaces, which only root may: run it with sudo, or set CASEMATE_NO_NETNS=1 to leave it out")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("test/netns needs the command ip: apt-get install iproute2, or set CASEMATE_NO_NETNS=1 to leave it out")
	}
	return nil
}

func prepared(m *testing.M) (code int, retErr error) {
	var err error
	if scratch, err = os.MkdirTemp("", "cn"); err != nil {
		return 1, fmt.Errorf("make a folder: %w", err)
	}
	j, err := startJanitor()
	if err != nil {
		return 1, err
	}
	// The tests wait for others most of the time.
	if err := flag.Set("test.parallel", "3"); err != nil {
		return 1, fmt.Errorf("set how many tests run at a time: %w", err)
	}
	code = m.Run()
	errs := []error{j.finish()}
	if code == 0 {
		errs = append(errs, goleak.Find())
	}
	if code != 0 && os.Getenv("CASEMATE_NETNS_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "state and logs are kept in", scratch)
		return code, errors.Join(errs...)
	}
	return code, errors.Join(append(errs, os.RemoveAll(scratch))...)
}

// binaries returns the folder with the daemons' binaries, which are built if
// CASEMATE_BIN does not name it.
var binaries = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("CASEMATE_BIN"); dir != "" {
		return dir, nil
	}
	dir := filepath.Join(scratch, "bin")
	for _, name := range []string{"agent", "coordinator", "gateway", "guest"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "casemate-"+name), "./cmd/"+name)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})
