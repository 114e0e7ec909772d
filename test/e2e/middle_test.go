package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/internal/dev"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/guestdir"
)

// recorder passes connections on to an address and keeps every byte, each
// direction of each connection by itself.
type recorder struct {
	to string

	mu   sync.Mutex
	kept []*bytes.Buffer
}

// record listens in front of an address of the fleet, in the form unix://path, for
// as long as the test and its fleet last.
func record(t *testing.T, to string) (*recorder, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{to: strings.TrimPrefix(to, "unix://")}
	var joined sync.WaitGroup
	joined.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			joined.Go(func() { r.join(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); joined.Wait() })
	return r, l.Addr().String()
}

// keep is a place for one direction of one connection.
func (r *recorder) keep() io.Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &bytes.Buffer{}
	r.kept = append(r.kept, b)
	return writer(func(p []byte) (int, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return b.Write(p)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func (r *recorder) join(outer net.Conn) {
	inner, err := net.Dial("unix", r.to) //nolint:noctx // a local socket
	if err != nil {
		_ = outer.Close()
		return
	}
	var copies sync.WaitGroup
	for _, way := range [][2]net.Conn{{inner, outer}, {outer, inner}} {
		copies.Go(func() {
			_, _ = io.Copy(io.MultiWriter(r.keep(), way[0]), way[1])
			_, _ = inner.Close(), outer.Close()
		})
	}
	copies.Wait()
}

// holds tells whether any direction of any connection has a text in it.
func (r *recorder) holds(text []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.kept {
		if bytes.Contains(b.Bytes(), text) {
			return true
		}
	}
	return false
}

// traces are the forms in which a value goes over a wire or onto a disk: as it is,
// in base64 (as JSON has it) and in hexadecimal.
func traces(value []byte) [][]byte {
	whole := value[:len(value)-len(value)%3] // what follows decides the end of base64
	return [][]byte{value, []byte(base64.StdEncoding.EncodeToString(whole)), []byte(hex.EncodeToString(value))}
}

// search reads all files below a folder; it tells how many there were, and which
// have one of the texts in them.
func search(t *testing.T, dir string, texts ...[]byte) (files int, found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // swept away meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		for _, text := range texts {
			if bytes.Contains(content, text) {
				found = append(found, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, found
}

// remembers tells whether a process has one of the texts in memory that it can
// write to.
func remembers(t *testing.T, pid int, texts ...[]byte) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	const overlap = 1024
	block := make([]byte, 1<<20+overlap)
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		for ; from < to; from += uint64(len(block) - overlap) {
			// What was unmapped meanwhile can't be read, and holds nothing.
			n, _ := mem.ReadAt(block[:min(uint64(len(block)), to-from)], int64(from)) //nolint:gosec // user memory ends below 2^47
			for _, text := range texts {
				if bytes.Contains(block[:n], text) {
					return true
				}
			}
		}
	}
	return false
}

// wire is what the host's owner has kept of an enclave's connections.
func (f *fleet) wire(n int, enclave string) string {
	return filepath.Join(f.Dir, fmt.Sprintf("enclaves-%d", n+1), enclave, guestdir.WireFolder)
}

// TestNobodyOnTheHostEverHoldsAPlaintext lets the owner of a host listen between
// coordinator and agent and before the guest, and then looks at all that the owner
// could look at: the disk, what the agent says and logs, the agent's memory.
func TestNobodyOnTheHostEverHoldsAPlaintext(t *testing.T) {
	t.Parallel()
	var between *recorder
	f := start(t, dev.Options{Hosts: []string{"none"}, Reach: func(_ int, address string) (at string) {
		between, at = record(t, address)
		return at
	}})
	f.createSecret(t, "GUARDED", "guarded")
	spec := f.versions(t, "tapped", app{fault: "wiretapped", secrets: []string{"GUARDED"}})
	spec.Secrets = []string{"GUARDED"}
	f.deployed(t, "tapped", spec)
	if a := f.ask(t, "tapped"); a.Secrets["GUARDED"] != digest("guarded") {
		t.Fatalf("the enclave was given %v: the test proves nothing", a.Secrets)
	}
	f.judgedAgain(t, "tapped")

	plain, open, enclave := traces(secret("guarded")), []byte(domain("tapped")), f.get(t, "tapped").GetActiveEnclave()
	wire := f.wire(0, enclave)
	for what, dir := range map[string]string{
		"what passed the enclave's network card": wire, "the enclaves' folder": filepath.Dir(filepath.Dir(wire)),
		"the agent's state": filepath.Join(f.Dir, "agent-1"), "the gateway's state": filepath.Join(f.Dir, "gateway-1"),
	} {
		files, found := search(t, dir, plain...)
		if len(found) > 0 {
			t.Errorf("%s has the plaintext: %v", what, found)
		}
		if _, seen := search(t, dir, open, []byte(enclave)); len(seen) == 0 {
			t.Errorf("%s, %d files, does not even name the enclave: the search is broken", what, files)
		}
	}
	for _, text := range plain {
		if between.holds(text) {
			t.Errorf("%q went from coordinator to agent, or back", text)
		}
	}
	if !between.holds(open) {
		t.Error("nothing that names the enclave passed between coordinator and agent: the recording is broken")
	}
	f.logsWithout(t, plain, "agent-1.log", "gateway-1.log")
	f.memoryWithout(t, plain, open)
}

// judgedAgain has agent and coordinator ask the enclave once more.
func (f *fleet) judgedAgain(t *testing.T, name string) {
	t.Helper()
	says(t, f.ok(t, "attest", "container", name), "evidence is accepted")
}

func (f *fleet) logsWithout(t *testing.T, plain [][]byte, names ...string) {
	t.Helper()
	for _, name := range names {
		log, err := os.ReadFile(filepath.Join(f.Dir, name))
		if err != nil || len(log) == 0 {
			t.Errorf("%s has %d bytes, %v: the search is broken", name, len(log), err)
		}
		for _, text := range plain {
			if bytes.Contains(log, text) {
				t.Errorf("%s has the plaintext", name)
			}
		}
	}
}

func (f *fleet) memoryWithout(t *testing.T, plain [][]byte, open []byte) {
	t.Helper()
	guests, err := f.Guests()
	if err != nil || len(guests) != 1 {
		t.Fatalf("guests are %v, %v", guests, err)
	}
	if !remembers(t, guests[0], plain[0]) {
		t.Error("the guest does not remember its own secret: the search is broken")
	}
	for _, p := range []*dev.Process{f.Agents[0], f.GatewayProc[0]} {
		if remembers(t, p.PID(), plain...) {
			t.Errorf("%s has the plaintext in its memory", p.Name)
		}
		if !remembers(t, p.PID(), open) {
			t.Errorf("%s does not remember %s: the search is broken", p.Name, open)
		}
	}
}

// TestWhoeverEndsTLSOnTheHostGetsEvidenceAndNoSecret puts somebody before the guest
// who is taken for it, with a key of their own.
func TestWhoeverEndsTLSOnTheHostGetsEvidenceAndNoSecret(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none"}})
	f.createSecret(t, "WANTED", "wanted")
	spec := f.versions(t, "posed", app{fault: "attestation-foreign-key", secrets: []string{"WANTED"}})
	spec.Secrets = []string{"WANTED"}
	if err := f.create(t, "posed", spec); err != nil {
		t.Fatal(err)
	}
	c := f.is(t, "posed", hasFailed)
	if c.GetReason() != "ATTESTATION_REFUSED" || !strings.Contains(c.GetText(), "key_binding") {
		t.Errorf("it failed with %s: %s", c.GetReason(), c.GetText())
	}
	dir := filepath.Join(f.Dir, "enclaves-1")
	if _, found := search(t, dir, traces(secret("wanted"))...); len(found) > 0 {
		t.Errorf("the one in the middle holds the plaintext: %v", found)
	}
	if _, found := search(t, dir, []byte(`"tls_key_digest"`)); len(found) == 0 {
		t.Error("the one in the middle has read no evidence: the test proves nothing")
	}
}
