package guestdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

var start = time.Date(2026, 11, 22, 1, 2, 3, 4000, time.UTC)

func written(t *testing.T) (Dir, Record) {
	t.Helper()
	dir := Dir(filepath.Join(t.TempDir(), "a-r1-1"))
	if err := os.Mkdir(string(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	spec, err := enclave.EncodeSpec(&agentv1.EnclaveSpec{Org: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	r := Record{
		ID: "a-r1-1", GPUs: []string{"0000:17:00.0"}, ListenHost: "127.0.0.1",
		Settings: map[string]string{"A": "1"}, StartTime: start,
	}
	if err := dir.WriteRecord(r, spec); err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func TestRecordIsReadAsItWasWritten(t *testing.T) {
	dir, want := written(t)
	got, spec, err := dir.ReadRecord()
	if err != nil || spec.GetOrg() != "acme" || len(got.SpecSHA256) != 64 {
		t.Fatalf("read %+v, %v, %v", got, spec, err)
	}
	got.SpecSHA256 = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecordOfAnotherFolderIsRefused(t *testing.T) {
	dir, _ := written(t)
	moved := Dir(filepath.Join(filepath.Dir(string(dir)), "b-r1-1"))
	if err := os.Rename(string(dir), string(moved)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := moved.ReadRecord(); err == nil || !strings.Contains(err.Error(), "that of enclave") {
		t.Errorf("a folder under another name: %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	dir, _ := written(t)
	if e, err := dir.ReadEndpoint(); e != "" || err != nil {
		t.Errorf("before it listens: %q, %v", e, err)
	}
	if err := dir.WriteEndpoint("[::1]:443"); err != nil {
		t.Fatal(err)
	}
	if e, err := dir.ReadEndpoint(); e != "[::1]:443" || err != nil {
		t.Errorf("read %q, %v", e, err)
	}
}

func TestExit(t *testing.T) {
	dir, _ := written(t)
	if _, err := dir.ReadExit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before its end: %v, expected ErrNotExist", err)
	}
	want := enclave.Exit{Reason: enclave.ReasonDied, Text: "why", Time: start}
	if err := dir.WriteExit(want); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.ReadExit(); err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
	want.Text = strings.Repeat("x", 1<<20)
	if err := dir.WriteExit(want); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.ReadExit(); err != nil || len(got.Text) > maxText {
		t.Errorf("a long text: %d bytes, %v", len(got.Text), err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir, _ := written(t)
	if err := errors.Join(os.Remove(dir.Path(RecordFile)), os.Symlink("/dev/zero", dir.Path(RecordFile))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := dir.ReadRecord(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link in the record's place: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"a","spec_sha256":"","gpus":[],"listen_host":"","settings":{"A":"1"},"start_time":"2026-11-22T00:00:00Z"}`))
	f.Add([]byte(`{"version":1,"id":"../a"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := parseRecord(raw); err == nil && enclave.CheckID(r.ID) != nil {
			t.Errorf("an unsafe id was read: %q", r.ID)
		}
	})
}
