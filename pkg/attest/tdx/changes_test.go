package tdx_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

var update = flag.Bool("update", false, "rewrite golden files")

// changedEvidence is one document of recorded evidence that is changed bit by bit
// and byte by byte while everything else stays as recorded.
type changedEvidence struct {
	name   string // also the prefix of its lines in the golden file
	doc    []byte
	verify func(changed []byte) *attest.Verdict
	// reason says why a changed position may go unnoticed: what lies there.
	reason func(position int) string
}

// unnoticed are positions at which a change failed no further check.
type unnoticed struct {
	flips []int // byte positions of which any bit could be flipped
	bits  int
	cuts  []int // lengths the document could be cut to
}

// survey changes every bit and cuts at every length, on all processors.
func (e *changedEvidence) survey(t *testing.T) unnoticed {
	base := e.verify(e.doc)
	var mu sync.Mutex
	var found unnoticed
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := bytes.Clone(e.doc)
			for i := range work {
				bits := e.flipByte(t, base, buf, i)
				cut := same(t, base, e.verify(e.doc[:i:i]))
				mu.Lock()
				if found.bits += bits; bits > 0 {
					found.flips = append(found.flips, i)
				}
				if cut {
					found.cuts = append(found.cuts, i)
				}
				mu.Unlock()
			}
		})
	}
	for i := 0; i < len(e.doc); i += exhaustiveStride {
		work <- i
	}
	close(work)
	wg.Wait()
	slices.Sort(found.flips)
	slices.Sort(found.cuts)
	return found
}

func (e *changedEvidence) flipByte(t *testing.T, base *attest.Verdict, buf []byte, i int) (bits int) {
	for bit := range 8 {
		buf[i] ^= 1 << bit
		if same(t, base, e.verify(buf)) {
			bits++
		}
		buf[i] ^= 1 << bit
	}
	return bits
}

// same tells whether a change went unnoticed: no further check failed. What the
// verdict claims must then be the same too, the count of ignored bytes apart.
func same(t *testing.T, base, got *attest.Verdict) bool {
	failed := func(v *attest.Verdict) (names []string) {
		for _, c := range v.Failed() {
			names = append(names, c.Name)
		}
		return names
	}
	if !slices.Equal(failed(base), failed(got)) {
		return false
	}
	a, b := maps.Clone(base.Claims), maps.Clone(got.Claims)
	delete(a, "trailing_bytes")
	delete(b, "trailing_bytes")
	if !reflect.DeepEqual(a, b) {
		t.Errorf("a change went unnoticed and reached the claims:\n%v\n%v", a, b)
	}
	return true
}

// report writes one line for each run of positions with one reason.
func (e *changedEvidence) report(u unnoticed) string {
	var out strings.Builder
	write := func(kind string, positions []int, suffix string) {
		for i := 0; i < len(positions); {
			j, why := i, e.reason(positions[i])
			for j+1 < len(positions) && positions[j+1] == positions[j]+1 && e.reason(positions[j+1]) == why {
				j++
			}
			fmt.Fprintf(&out, "%s: %s %d-%d%s: %s\n", e.name, kind, positions[i], positions[j], suffix, why)
			i = j + 1
		}
	}
	write("flips in bytes", u.flips, fmt.Sprintf(" (%d bits in all)", u.bits))
	write("cuts to length", u.cuts, "")
	if out.Len() == 0 {
		return e.name + ": none\n"
	}
	return out.String()
}

func recordedEvidence(t *testing.T) []changedEvidence {
	v := newVerifier(t, tdx.Config{})
	var out []changedEvidence
	for _, set := range []struct {
		name   string
		at     time.Time
		policy tdx.Policy
	}{{"tdx_quote", quoteTime, listed()}, {"tdx_quote_outdated", outdatedTime, chainOnly()}} {
		vec := loadVector(t, set.name)
		q, err := tdx.ParseQuote(vec.quote)
		if err != nil {
			t.Fatal(err)
		}
		end := len(vec.quote) - q.Trailing
		out = append(out, changedEvidence{
			name: set.name, doc: vec.quote,
			verify: func(changed []byte) *attest.Verdict {
				return v.Verify(tdx.Evidence{Quote: changed}, vec.collateral, set.policy, set.at)
			},
			reason: func(i int) string {
				switch {
				case i >= end:
					return "after the signed data: not authenticated, not used"
				case i >= end-1:
					return "the NUL that ends the PCK chain's PEM text: not used"
				}
				return "UNEXPECTED"
			},
		})
		out = append(out, collateralEvidence(v, set.name, vec, set.at)...)
	}
	return out
}

func collateralEvidence(v *tdx.Verifier, name string, vec vector, at time.Time) []changedEvidence {
	var out []changedEvidence
	for _, part := range []struct {
		name string
		of   func(*tdx.Collateral) *[]byte
	}{
		{"tcb_info.json", func(c *tdx.Collateral) *[]byte { return &c.TCBInfo }},
		{"qe_identity.json", func(c *tdx.Collateral) *[]byte { return &c.QEIdentity }},
		{"pck.crl", func(c *tdx.Collateral) *[]byte { return &c.PCKCRL }},
		{"root.crl", func(c *tdx.Collateral) *[]byte { return &c.RootCRL }},
		{"tcb_info_chain.pem", func(c *tdx.Collateral) *[]byte { return &c.TCBInfoChain }},
		{"qe_identity_chain.pem", func(c *tdx.Collateral) *[]byte { return &c.QEIdentityChain }},
		{"pck_crl_chain.pem", func(c *tdx.Collateral) *[]byte { return &c.PCKCRLChain }},
	} {
		doc := *part.of(vec.collateral)
		out = append(out, changedEvidence{
			name: name + "/" + part.name, doc: doc,
			verify: func(changed []byte) *attest.Verdict {
				c := *vec.collateral
				*part.of(&c) = changed
				return v.VerifyCollateral(tdx.Evidence{Quote: vec.quote}, &c, listed(), at)
			},
			reason: func(i int) string { return chainReason(part.name, doc, i) },
		})
	}
	return out
}

func chainReason(name string, doc []byte, i int) string {
	const end = "-----END CERTIFICATE-----\n"
	if !strings.HasSuffix(name, "_chain.pem") {
		return "UNEXPECTED"
	}
	switch first := bytes.Index(doc, []byte(end)) + len(end); i {
	case 0:
		return "an empty chain is an absent one: another that leads to the same root stands in"
	case first - 1, first:
		return "the root behind the issuer is left out: the trusted root is known"
	case len(doc) - 1:
		return "the last line end is left out"
	}
	return "UNEXPECTED"
}

// TestEveryChangedBitAndCutOfRecordedEvidenceIsNoticed compares the positions at
// which a change is accepted with the golden table, where each has its reason.
func TestEveryChangedBitAndCutOfRecordedEvidenceIsNoticed(t *testing.T) {
	var got strings.Builder
	surveyed := map[string]string{} // both sets hold the same issuer chains
	for _, e := range recordedEvidence(t) {
		if first, ok := surveyed[string(e.doc)+filepath.Base(e.name)]; ok {
			fmt.Fprintf(&got, "%s: the same bytes as %s\n", e.name, first)
			continue
		}
		surveyed[string(e.doc)+filepath.Base(e.name)] = e.name
		u := e.survey(t)
		line := e.report(u)
		if strings.Contains(line, "UNEXPECTED") {
			t.Errorf("a change is accepted that nothing explains: %s", line)
		}
		got.WriteString(line)
	}
	if exhaustiveStride != 1 {
		t.Logf("thinned out: one position in %d", exhaustiveStride)
		return
	}
	t.Logf("accepted although changed, in every bit and length:\n%s", got.String())
	golden := filepath.Join("testdata", "accepted_changes.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("accepted changes are\n%s\nexpected\n%s", got.String(), want)
	}
}
