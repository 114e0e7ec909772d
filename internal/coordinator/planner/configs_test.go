package planner

import (
	"fmt"
	"sync"
	"testing"

	"github.com/casemate-dev/casemate/pkg/release"
)

func file(version int) []byte {
	return fmt.Appendf(nil, "cvm-version: 0.0.%d\ncpus: 2\nmemory: 8192\ncontainers:\n  - name: app\n    image: ghcr.io/acme/app@sha256:%064d\nshim:\n  upstream-port: 8000\n", version, 3)
}

func TestConfigsAreParsedOnceWhileTheyAreUsed(t *testing.T) {
	var c configs
	first, _, err := c.parse("casemate.yml", file(0))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 2*keptConfigs; n++ {
		if got, _, err := c.parse("casemate.yml", file(n)); err != nil || got.CVMVersion != fmt.Sprintf("0.0.%d", n) {
			t.Fatalf("file %d: %+v, %v", n, got, err)
		}
		if again, _, _ := c.parse("casemate.yml", file(0)); again != first {
			t.Fatalf("a config in use was parsed again after %d others", n)
		}
	}
	if c.used.Len() != keptConfigs || len(c.byFile) != keptConfigs {
		t.Errorf("%d configs are kept under %d digests, want %d", c.used.Len(), len(c.byFile), keptConfigs)
	}
}

func TestConfigsTellFilesByNameAndContent(t *testing.T) {
	var c configs
	one, _, err := c.parse("casemate.yml", file(1))
	if err != nil {
		t.Fatal(err)
	}
	if other, _, err := c.parse("tinfoil-config.yml", file(1)); err != nil || other == one || other.Name != "tinfoil-config.yml" {
		t.Errorf("a file of another name gave %+v, %v", other, err)
	}
}

func TestConfigsKeepNoErrorsAndNoLargeFiles(t *testing.T) {
	var c configs
	for range 2 {
		if _, _, err := c.parse("casemate.yml", []byte("nonsense: true\n")); err == nil {
			t.Error("a broken file was taken")
		}
	}
	large := append(file(1), make([]byte, keptConfigBytes)...)
	for i := range large[len(file(1)):] {
		large[len(file(1))+i] = '\n'
	}
	if _, _, err := c.parse("casemate.yml", large); err != nil {
		t.Errorf("a large file: %v", err)
	}
	if c.used.Len() != 0 {
		t.Errorf("%d are kept, want none", c.used.Len())
	}
}

func TestConfigsGiveWarningsAgain(t *testing.T) {
	var c configs
	data := append(file(1), "ovmf-version: 0.0.2\n"...)
	_, want, err := release.Parse("casemate.yml", data)
	if err != nil || len(want) == 0 {
		t.Fatalf("the file gives %v, %v; want a warning", want, err)
	}
	for range 2 {
		if _, got, err := c.parse("casemate.yml", data); err != nil || len(got) != len(want) {
			t.Errorf("warnings %v, %v; want %v", got, err, want)
		}
	}
}

func TestConfigsAreSafeTogether(t *testing.T) {
	var c configs
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for n := range 200 {
				if _, _, err := c.parse("casemate.yml", file((n+g)%20)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if c.used.Len() != 20 {
		t.Errorf("%d are kept, want 20", c.used.Len())
	}
}
