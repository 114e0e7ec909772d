package release

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, name := range []string{"full.yml", "minimal.yml", "vintage.yml"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("containers: [{env: [{}]}, null, 1]\nshim: []\nmodels: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, warnings, err := Parse("f", data)
		if len(warnings) > MaxWarnings {
			t.Fatalf("%d warnings", len(warnings))
		}
		if err == nil {
			checkInvariants(t, c, data)
			return
		}
		var refused *ParseError
		if !errors.As(err, &refused) || len(refused.Faults) == 0 || len(refused.Faults) > MaxFaults {
			t.Fatalf("the error is not a bounded ParseError: %v", err)
		}
		if text := err.Error(); !utf8.ValidString(text) || len(text) > MaxFaults*1024 {
			t.Fatalf("the error has %d bytes, valid %t", len(text), utf8.ValidString(text))
		}
	})
}

// checkInvariants holds for every file that is taken.
func checkInvariants(t *testing.T, c *Config, data []byte) {
	t.Helper()
	if !bytes.Equal(c.Raw, data) {
		t.Fatal("the raw bytes are not the file")
	}
	upstream := false
	for _, k := range c.Containers {
		upstream = upstream || k.Name == c.Shim.UpstreamContainer
		if k.Name == "" || checkDigest(k.ImageDigest) != nil {
			t.Fatalf("a container without name or digest was taken: %+v", k)
		}
	}
	if !upstream || c.Shim.UpstreamPort == 0 || c.CPUs < 1 || c.MemoryMiB < minMemoryMiB || c.CVMVersion == "" {
		t.Fatalf("an incomplete config was taken: %+v", c)
	}
	if again, _, err := Parse("f", c.Raw); err != nil || len(Diff(Side{Config: c}, Side{Config: again})) != 0 {
		t.Fatalf("parsing again gives another spec, err %v", err)
	}
}

func BenchmarkParse(b *testing.B) {
	data := fixture(b, "full.yml")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Parse("f", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHostileMebibyte(b *testing.B) {
	data := append([]byte("a: ["), bytes.Repeat([]byte("1,"), MaxFileBytes/2-4)...)
	data = append(data, ']')
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := Parse("f", data); err == nil {
			b.Fatal("taken")
		}
	}
}
