package records

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/enclave"
)

func sample(t testing.TB, id string) Record {
	t.Helper()
	spec := &agentv1.EnclaveSpec{Org: "acme", Container: "web", Config: []byte("x: 1\n"),
		Platform: &agentv1.Platform{ClusterId: "c1", Variables: map[string]string{"B": "2", "A": "1"}}}
	digest, err := enclave.SpecDigest(spec)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 1, 10, 0, 0, 5000, time.UTC)
	return Record{ID: id, ClusterID: "c1", Spec: spec, SpecDigest: digest, State: agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY,
		Reason: "R", Text: "words", GPUs: []string{"0000:17:00.0"}, Mode: "ppcie", StopBy: at.Add(time.Minute),
		WasHealthy: true, Created: at, Changed: at.Add(time.Second)}
}

func tombstone(id string) Record {
	return Record{ID: id, ClusterID: "c1", State: agentv1.EnclaveState_ENCLAVE_STATE_STOPPED, GPUs: []string{}}
}

func open(t *testing.T, dir string) (*Store, []Record, []Damaged) {
	t.Helper()
	s, all, damaged, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, all, damaged
}

func TestWhatIsPutIsReadAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := open(t, dir)
	want := []Record{sample(t, "a-r1-1"), tombstone("b-r2-1")}
	for _, r := range want {
		if err := s.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(sample(t, "c")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // deleting twice is no error
		if err := s.Delete("c"); err != nil {
			t.Fatal(err)
		}
	}
	_, got, damaged := open(t, dir)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(damaged) > 0 {
		t.Errorf("records (-want +got), damaged %v:\n%s", damaged, diff)
	}
}

func TestADamagedRecordIsSetAsideAndTheRestIsRead(t *testing.T) {
	good, err := encode(sample(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for name, content := range map[string]string{
		"nothing":                     "",
		"half of it":                  text[:len(text)/2],
		"an unknown member":           strings.Replace(text, `{"version"`, `{"x":1,"version"`, 1),
		"another version":             strings.Replace(text, `"version":1`, `"version":2`, 1),
		"two documents":               text + text,
		"an unknown state":            strings.Replace(text, "HEALTHY", "HAPPY", 1),
		"another spec":                strings.Replace(text, `"spec":"`, `"spec":"AAAA`, 1),
		"a digest that is not its":    strings.Replace(text, `"spec_digest":"`, `"spec_digest":"0`, 1),
		"the name of another enclave": strings.Replace(text, `"id":"a"`, `"id":"z"`, 1),
		"no spec and no end":          `{"version":1,"id":"a","state":"HEALTHY"}`,
		"a time that is none":         strings.Replace(text, `"stop_by":"2026`, `"stop_by":"x`, 1),
		"a text without end":          strings.Replace(text, "words", strings.Repeat("w", maxText+1), 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			other, err := encode(sample(t, "b"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "b.json"), other, 0o600); err != nil {
				t.Fatal(err)
			}
			_, got, damaged := open(t, dir)
			if len(got) != 1 || got[0].ID != "b" || len(damaged) != 1 || damaged[0].ID != "a" {
				t.Fatalf("read %v, damaged %v; expected b, and a damaged", got, damaged)
			}
			if kept, err := os.ReadFile(damaged[0].Aside); err != nil || string(kept) != content {
				t.Errorf("kept %q, %v", kept, err)
			}
			if _, _, again := open(t, dir); len(again) != 0 {
				t.Errorf("a damaged record is reported twice: %v", again)
			}
		})
	}
}

func TestIDsThatAreNoFileNamesAreRefused(t *testing.T) {
	s, _, _ := open(t, t.TempDir())
	for _, id := range []string{"", "../x", "a/b", ".hidden", strings.Repeat("a", 129)} {
		r := sample(t, "a")
		r.ID = id
		if err := s.Put(r); err == nil {
			t.Errorf("%q is put", id)
		}
		if err := s.Delete(id); err == nil {
			t.Errorf("%q is deleted", id)
		}
	}
}

func TestTextsAreClippedNotRefused(t *testing.T) {
	s, _, _ := open(t, t.TempDir())
	r := sample(t, "a")
	r.Text = strings.Repeat("é", maxText)
	if err := s.Put(r); err != nil {
		t.Errorf("a long text from a guest can't be recorded: %v", err)
	}
}

// brokenDisk fails every rename.
type brokenDisk struct{ atomicfile.OS }

func (brokenDisk) Rename(string, string) error { return errors.New("input/output error") }

func TestAWriteThatFailsIsTold(t *testing.T) {
	s, _, _, err := Open(t.TempDir(), brokenDisk{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(sample(t, "a")); err == nil {
		t.Error("the write of a broken disk succeeds")
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(sample(f, "a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"id":"a","state":"STOPPED"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decode(text)
		if err != nil {
			return
		}
		again, err := encode(r)
		if err != nil {
			t.Fatalf("a record that was read can't be written: %v", err)
		}
		if _, err := decode(again); err != nil {
			t.Errorf("a record that was written can't be read: %v", err)
		}
	})
}
