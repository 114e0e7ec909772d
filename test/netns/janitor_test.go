package netns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// prefix begins the names of all namespaces of this run.
var prefix = fmt.Sprintf("casemate-%d-", os.Getpid())

// script removes every namespace of a run, and first what runs in it, once its
// input ends: that is when the tests have ended, in whatever way.
const script = `cat >/dev/null
for ns in $(ip netns list | cut -d' ' -f1); do
	case $ns in "$1"*) ;; *) continue ;; esac
	pids=$(ip netns pids "$ns")
	[ -z "$pids" ] || kill -9 $pids 2>/dev/null
	ip netns delete "$ns"
done
ip netns list | cut -d' ' -f1 | grep "^$1" && exit 1
exit 0`

// janitor cleans up after this process, even one that was killed.
type janitor struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	out   strings.Builder
}

func startJanitor() (*janitor, error) {
	j := &janitor{cmd: exec.Command("sh", "-c", script, "janitor", prefix)}
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	j.cmd.Stdout, j.cmd.Stderr = &j.out, &j.out
	var err error
	if j.input, err = j.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the janitor: %w", err)
	}
	if err := j.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the janitor: %w", err)
	}
	return j, nil
}

// finish lets the janitor do its work and waits for it.
func (j *janitor) finish() error {
	err := j.input.Close()
	if waited := j.cmd.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("namespaces are left: %w: %s", waited, j.out.String()))
	}
	return err
}
