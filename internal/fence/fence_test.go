package fence

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

func open(t *testing.T, path, pinned string) *Guard {
	t.Helper()
	g, err := Open(Config{Path: path, Pinned: pinned})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestWhoIsAdmitted(t *testing.T) {
	for name, c := range map[string]struct {
		pinned string
		calls  []Fence
		want   error // of the last call
	}{
		"the first cluster is followed":                 {"", []Fence{{"a", 1}}, nil},
		"the same epoch again":                          {"", []Fence{{"a", 3}, {"a", 3}}, nil},
		"a higher epoch":                                {"", []Fence{{"a", 3}, {"a", 9}}, nil},
		"a lower epoch is stale":                        {"", []Fence{{"a", 3}, {"a", 2}}, ErrStale},
		"another cluster is foreign":                    {"", []Fence{{"a", 3}, {"b", 9}}, ErrForeign},
		"another cluster than the pinned one":           {"a", []Fence{{"b", 1}}, ErrForeign},
		"the pinned cluster":                            {"a", []Fence{{"a", 1}}, nil},
		"a refused call changes nothing":                {"", []Fence{{"a", 3}, {"b", 9}, {"a", 3}}, nil},
		"no cluster":                                    {"", []Fence{{"", 1}}, ErrMalformed},
		"no epoch":                                      {"", []Fence{{"a", 0}}, ErrMalformed},
		"a cluster whose name breaks out of everything": {"", []Fence{{"../a", 1}}, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, filepath.Join(t.TempDir(), "fence.json"), c.pinned)
			var err error
			for _, f := range c.calls {
				err = g.Admit(t.Context(), f)
			}
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Errorf("the last call gives %v, expected %v", err, c.want)
			}
		})
	}
}

func TestWhatWasAdmittedSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence.json")
	if err := open(t, path, "").Admit(t.Context(), Fence{"a", 7}); err != nil {
		t.Fatal(err)
	}
	g := open(t, path, "")
	if got := g.Current(); got != (Fence{"a", 7}) {
		t.Errorf("after a restart %+v is followed", got)
	}
	if err := g.Admit(t.Context(), Fence{"a", 6}); !errors.Is(err, ErrStale) {
		t.Errorf("a lower epoch after a restart gives %v", err)
	}
	if err := g.Holds(Fence{"a", 7}); err != nil {
		t.Errorf("the fence in force does not hold: %v", err)
	}
}

func TestAPinTakesTheFilesPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence.json")
	if err := open(t, path, "").Admit(t.Context(), Fence{"a", 7}); err != nil {
		t.Fatal(err)
	}
	g := open(t, path, "b")
	if err := g.Admit(t.Context(), Fence{"a", 9}); !errors.Is(err, ErrForeign) {
		t.Errorf("the unpinned cluster gives %v", err)
	}
	if err := g.Admit(t.Context(), Fence{"b", 1}); err != nil {
		t.Errorf("the pinned cluster gives %v", err)
	}
}

func TestADamagedFileIsKeptAndNamed(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "x", "an unknown member": `{"version":1,"cluster_id":"a","epoch":1,"x":2}`,
		"another version": `{"version":2,"cluster_id":"a","epoch":1}`, "no epoch": `{"version":1,"cluster_id":"a"}`,
		"two documents": `{"version":1,"cluster_id":"a","epoch":1}{}`, "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fence.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := Open(Config{Path: path})
			if !errors.Is(err, ErrDamaged) || g == nil {
				t.Fatalf("opened as %+v, %v", g, err)
			}
			if kept, err := os.ReadFile(path + ".corrupt"); err != nil || string(kept) != text {
				t.Errorf("kept %q, %v", kept, err)
			}
			if err := g.Follow("a"); err != nil {
				t.Fatal(err)
			}
			if err := g.Admit(t.Context(), Fence{"b", 1}); !errors.Is(err, ErrForeign) {
				t.Errorf("a foreign cluster takes over after damage: %v", err)
			}
		})
	}
}

// fullDisk can't make files.
type fullDisk struct{ atomicfile.OS }

func (fullDisk) CreateTemp(string, string) (atomicfile.File, error) {
	return nil, errors.New("no space left on device")
}

func TestWhatCantBeRecordedIsNotAdmitted(t *testing.T) {
	g, err := Open(Config{Path: filepath.Join(t.TempDir(), "fence.json"), FS: fullDisk{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Admit(t.Context(), Fence{"a", 1}); err == nil {
		t.Error("admitted without a record")
	}
	if got := g.Current(); got != (Fence{}) {
		t.Errorf("%+v is in force without a record", got)
	}
}

func TestConcurrentCallersNeverLowerTheEpoch(t *testing.T) {
	g := open(t, filepath.Join(t.TempDir(), "fence.json"), "")
	var wg sync.WaitGroup
	for epoch := int64(1); epoch <= 20; epoch++ {
		wg.Go(func() {
			if err := g.Admit(context.Background(), Fence{"a", epoch}); err != nil && !errors.Is(err, ErrStale) {
				t.Errorf("epoch %d: %v", epoch, err)
			}
		})
	}
	wg.Wait()
	if got := g.Current().Epoch; got != 20 {
		t.Errorf("epoch %d is in force after 20 was called", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"cluster_id":"a","epoch":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := decode(text); err == nil && got.check() != nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	})
}
