package sevsnp_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

var update = flag.Bool("update", false, "rewrite golden files")

const changesGolden = "testdata/accepted_changes.golden"

// changed is one document of recorded evidence, to be spoilt bit by bit.
type changed struct {
	name string
	doc  []byte
	put  func(*sevsnp.Evidence, []byte)
	ev   sevsnp.Evidence
	at   time.Time
	// taken tells whether a verdict took the document for good.
	taken func(*attest.Verdict) bool
}

func recordedDocuments(t *testing.T) []changed {
	report := func(ev *sevsnp.Evidence, b []byte) { ev.Report = b }
	vek := func(ev *sevsnp.Evidence, b []byte) { ev.VEK = b }
	chain := func(ev *sevsnp.Evidence, b []byte) { ev.Chain = b }
	real := realEvidence(t)
	milan, milan2, vlek := real["milan, chain given"], real["milan2"], real["vlek, asvk from the roots"]
	accepted := func(v *attest.Verdict) bool { return v.Accepted }
	turin := turinEvidence(t)
	return []changed{
		{"milan-report.hex", milan.ev.Report, report, milan.ev, milan.at, accepted},
		{"milan-vcek.der", milan.ev.VEK, vek, milan.ev, milan.at, accepted},
		{"milan-chain.pem", milan.ev.Chain, chain, milan.ev, milan.at, accepted},
		{"milan2-report.bin", milan2.ev.Report, report, milan2.ev, milan2.at, accepted},
		{"milan2-vcek.der", milan2.ev.VEK, vek, milan2.ev, milan2.at, accepted},
		{"milan-vlek-report.bin", vlek.ev.Report, report, vlek.ev, vlek.at, accepted},
		{"milan-vlek.der", vlek.ev.VEK, vek, vlek.ev, vlek.at, accepted},
		{"turin-vcek.der", turin.VEK, vek, turin, milan.at, onlyUnsigned},
		{"turin-chain.pem", turin.Chain, chain, turin, milan.at, onlyUnsigned},
	}
}

// onlyUnsigned is the verdict on good certificates with a report that they didn't
// sign: no report of the recorded Turin is public.
func onlyUnsigned(v *attest.Verdict) bool {
	f := v.Failed()
	return len(f) == 1 && f[0].Name == sevsnp.CheckReportSignature
}

// effort is how many changes of each document are tried.
type effort struct{ stride, bits int }

// thisEffort is all of them; the race detector and -short get a sample.
func thisEffort(t *testing.T) effort {
	switch {
	case raceOn:
		t.Log("NOT RUN: every changed bit; under -race, one bit of every 32nd byte is flipped")
		return effort{32, 1}
	case testing.Short():
		t.Log("NOT RUN: every changed bit; under -short, one bit of every byte is flipped")
		return effort{1, 1}
	}
	return effort{1, 8}
}

// Every flipped bit and every truncation of every recorded document is refused, but
// for those in the golden file, which says why.
func TestEveryChangeOfRealEvidenceIsRefused(t *testing.T) {
	var mu sync.Mutex
	found := map[string]string{}
	eff := thisEffort(t)
	docs := recordedDocuments(t)
	t.Run("documents", func(t *testing.T) {
		for _, c := range docs {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				v := newVerifier(t, nil)
				if got := v.Verify(c.ev, look(), c.at); !c.taken(got) {
					t.Fatalf("%s is refused unchanged: %v", c.name, got.Err())
				}
				lines := c.accepted(v, eff)
				mu.Lock()
				defer mu.Unlock()
				for _, line := range lines {
					found[line] = reason(c, line)
				}
			})
		}
	})
	compareGolden(t, found, eff == effort{1, 8})
}

// accepted returns the changes that are accepted, as lines of the golden file.
func (c changed) accepted(v *sevsnp.Verifier, eff effort) []string {
	var out []string
	try := func(doc []byte) bool {
		ev := c.ev
		c.put(&ev, doc)
		return c.taken(v.Verify(ev, look(), c.at))
	}
	for pos := 0; pos < len(c.doc); pos += eff.stride {
		for i := range eff.bits {
			bit := (pos/eff.stride + i) % 8
			doc := bytes.Clone(c.doc)
			doc[pos] ^= 1 << bit
			if try(doc) {
				out = append(out, fmt.Sprintf("%s flip %d.%d", c.name, pos, bit))
			}
		}
		if try(c.doc[:pos]) {
			out = append(out, fmt.Sprintf("%s cut %d", c.name, pos))
		}
	}
	return out
}

// reason says why a change may be accepted, or nothing if there is no reason.
func reason(c changed, line string) string {
	var pos, bit int
	if n, _ := fmt.Sscanf(strings.TrimPrefix(line, c.name), " cut %d", &pos); n == 1 {
		switch {
		case pos == 0 && strings.HasSuffix(c.name, "-chain.pem"):
			return "no chain: the verifier's own ASK is taken"
		case strings.TrimSpace(string(c.doc[pos:])) == "":
			return "white space at the end of PEM"
		case strings.HasSuffix(c.name, "-chain.pem") && bytes.Count(c.doc[:pos], []byte("-----END CERTIFICATE-----")) == 1 &&
			bytes.HasSuffix(bytes.TrimSpace(c.doc[:pos]), []byte("-----END CERTIFICATE-----")):
			return "the ASK alone: the root is the verifier's own"
		}
		return ""
	}
	if n, _ := fmt.Sscanf(strings.TrimPrefix(line, c.name), " flip %d.%d", &pos, &bit); n == 2 {
		if isSpace(c.doc[pos]) && isSpace(c.doc[pos]^1<<bit) {
			return "white space in PEM"
		}
	}
	return ""
}

func isSpace(b byte) bool {
	return b == '\n' || b == '\r' || b == '\t' || b == '\v' || b == '\f' || b == ' '
}

func compareGolden(t *testing.T, found map[string]string, all bool) {
	t.Helper()
	lines := make([]string, 0, len(found))
	for line, why := range found {
		if why == "" {
			t.Errorf("accepted although changed, without a reason: %s", line)
		}
		lines = append(lines, line+"\t"+why)
	}
	sort.Strings(lines)
	got := strings.Join(lines, "\n") + "\n"
	t.Logf("accepted although changed (every bit and length: %t):\n%s", all, got)
	if *update && all {
		if err := os.MkdirAll(filepath.Dir(changesGolden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(changesGolden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(changesGolden)
	if err != nil {
		t.Fatal(err)
	}
	if all && got != string(want) {
		t.Errorf("accepted although changed:\n%s\nwant, by %s:\n%s", got, changesGolden, want)
	}
	for _, line := range lines {
		if !strings.Contains(string(want), line+"\n") {
			t.Errorf("accepted although changed, and not in %s: %s", changesGolden, line)
		}
	}
}
