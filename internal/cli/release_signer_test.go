package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// program puts a signing program into the folder: it has the public key, and gives a
// signature that was made before.
func (w workshop) program(t *testing.T, name string, signature []byte) string {
	t.Helper()
	w.put(t, name+".sig", signature)
	w.put(t, name, fmt.Appendf(nil, "#!/bin/sh\ncase \"$*\" in\n'--slot 1 public-key') cat %s ;;\n'--slot 1 sign none') cat >/dev/null; cat %s ;;\n*) exit 9 ;;\nesac\n",
		w.in("release.pub"), w.in(name+".sig")))
	if err := os.Chmod(w.in(name), 0o700); err != nil {
		t.Fatal(err)
	}
	return w.in(name)
}

func (w workshop) signBy(program string, more ...string) []string {
	return append([]string{"release", "sign", "--manifest", w.in("manifest.json"), "--signer-command", program,
		"--signer-arg", "--slot", "--signer-arg", "1", "--out", w.in("by-program.json")}, more...)
}

func TestAProgramSignsAManifestWhereTheKeyIsInNoFile(t *testing.T) {
	w := newWorkshop(t)
	w.sign(t)
	signed, err := os.ReadFile(w.in("signed.json"))
	if err != nil {
		t.Fatal(err)
	}
	var envelope struct {
		Signatures []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(signed, &envelope); err != nil {
		t.Fatal(err)
	}
	good := w.program(t, "good", envelope.Signatures[0].Sig)
	if r := runOffline(t, w.signBy(good)...); r.code != 0 || r.out+r.err != "" {
		t.Fatalf("exit code %d, %s%s", r.code, r.out, r.err)
	}
	if got, err := os.ReadFile(w.in("by-program.json")); err != nil || string(got) != string(signed) {
		t.Errorf("the program's envelope is %s, %v; want that of the key in a file", got, err)
	}
	r := runOffline(t, "release", "verify", "-o", "json", "--signed", w.in("by-program.json"), "--key", w.in("release.pub"))
	var got verified
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || !got.Accepted {
		t.Errorf("%s%s, %v", r.out, r.err, err)
	}
	bad := w.program(t, "bad", make([]byte, 64))
	for _, c := range []struct {
		rule string
		args []string
		says string
	}{
		{"a signature that doesn't verify", w.signBy(bad), "not by the key"},
		{"a program that isn't there", w.signBy(w.in("nowhere")), "--signer-command"},
		{"other arguments", w.signBy(good, "--signer-arg", "more"), "exit status 9"},
		{"arguments of no program", []string{"release", "sign", "--manifest", w.in("manifest.json"), "--key", w.in("release.key"), "--signer-arg", "x"}, "--signer-arg has no meaning"},
		{"no time", w.signBy(good, "--signer-timeout", "0s"), "--signer-timeout"},
		{"nobody to sign", []string{"release", "sign", "--manifest", w.in("manifest.json")}, "--signer-command"},
	} {
		t.Run(c.rule, func(t *testing.T) { runOffline(t, c.args...).wantUnusable(t, c.says) })
	}
	if err := os.Remove(w.in("by-program.json")); err != nil {
		t.Fatal(err)
	}
	runOffline(t, w.signBy(bad)...)
	if _, err := os.Stat(w.in("by-program.json")); !os.IsNotExist(err) {
		t.Errorf("an envelope was written with a bad signature: %v", err)
	}
	if r := runOffline(t, w.signBy(good, "--key", w.in("release.key"))...); r.code != 0 {
		t.Errorf("a key and a program: exit code %d, %s", r.code, r.err)
	}
	both, err := os.ReadFile(w.in("by-program.json"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := manifest.Inside(both); err != nil || m.Number != 7 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestCtrlCEndsTheProgramThatSigns(t *testing.T) {
	w := newWorkshop(t)
	w.sign(t)
	if err := syscall.Mkfifo(w.in("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	// It holds the pipe open for as long as it lives.
	w.put(t, "slow", fmt.Appendf(nil, "#!/bin/sh\ncase \"$*\" in\n*public-key) cat %s ;;\n*) exec 3>%s; echo started >&3; sleep 100000 ;;\nesac\n", w.in("release.pub"), w.in("alive")))
	if err := os.Chmod(w.in("slow"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	codes := make(chan int, 1)
	go func() {
		code := Run(ctx, w.signBy(w.in("slow")), offlineEnv(io.Discard, io.Discard))
		if f, err := os.OpenFile(w.in("alive"), os.O_WRONLY, 0); err == nil {
			_ = f.Close() // who waits for a program that was never asked goes on
		}
		codes <- code
	}()
	alive, err := os.Open(w.in("alive")) // waits for the program
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if _, err := io.ReadFull(alive, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if code := <-codes; code != ExitInterrupted {
		t.Errorf("exit code %d, want %d", code, ExitInterrupted)
	}
	if _, err := io.ReadAll(alive); err != nil { // ends with the program
		t.Error(err)
	}
}
