package gpu

import (
	"errors"
	"testing"
)

func TestParseBDF(t *testing.T) {
	for in, want := range map[string]BDF{
		"0000:17:00.0":     "0000:17:00.0",
		"17:00.0":          "0000:17:00.0",
		"00000000:C1:00.0": "0000:c1:00.0", // as NVML writes it
		"10000:e1:1f.7":    "10000:e1:1f.7",
		"00010000:e1:1f.7": "10000:e1:1f.7",
	} {
		if got, err := ParseBDF(in); err != nil || got != want {
			t.Errorf("%q gives %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "17", "17:00", "17:20.0", "17:00.8", "g7:00.0", "0000:17:00.0 ",
		"../../etc", "000:17:00.0", "0000:17:00.0\n", "000000000:17:00.0", "::", "17:000.0"} {
		if got, err := ParseBDF(bad); !errors.Is(err, ErrBDF) {
			t.Errorf("%q gives %q, %v; want ErrBDF", bad, got, err)
		}
	}
}

func FuzzParseBDF(f *testing.F) {
	for _, seed := range []string{"0000:17:00.0", "00010000:E1:1f.7", "17:00.0", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		b, err := ParseBDF(in)
		if err != nil {
			return
		}
		if again, err := ParseBDF(string(b)); err != nil || again != b {
			t.Errorf("%q is canonical as %q, which parses to %q, %v", in, b, again, err)
		}
	})
}
