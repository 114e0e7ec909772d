package nearest

import (
	"strings"
	"testing"
)

func TestWordFindsWhatWasMeant(t *testing.T) {
	keys := []string{"image", "healthcheck", "working_dir", "env", "upstream-port", "cpus", "gpus"}
	for _, tc := range []struct{ rule, word, want string }{
		{"a swap of neighbours", "iamge", "image"},
		{"a letter too few", "healthchek", "healthcheck"},
		{"another separator", "working-dir", "working_dir"},
		{"another case", "upstreamPort", "upstream-port"},
		{"a tie goes to the first", "xpus", "cpus"},
		{"short words allow one change", "nev", "env"},
		{"nothing close", "kernel", ""},
		{"nothing given", "", ""},
		{"a word too long to be a slip", strings.Repeat("image", 20), ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if got := Word(tc.word, keys); got != tc.want {
				t.Errorf("nearest to %q is %q, want %q", tc.word, got, tc.want)
			}
		})
	}
}

func TestWordPassesOverLongCandidates(t *testing.T) {
	if got := Word("imag", []string{strings.Repeat("x", maxWord+1), "image"}); got != "image" {
		t.Errorf("got %q, want image", got)
	}
}
