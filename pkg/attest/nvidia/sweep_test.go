package nvidia

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fullSweep: without CASEMATE_FULL_SWEEP each file is changed at a fixed sample of
// positions and in all bytes of one place of each region that is known to be
// unused; with it, in every bit and at every length.
func fullSweep() bool { return os.Getenv("CASEMATE_FULL_SWEEP") != "" }

// region is a part of a file in which a change may go unnoticed, and why.
type region struct {
	name, reason string
	pattern      *regexp.Regexp // the first group is the part
}

// unusedRegions are all there are. A change that is accepted anywhere else fails
// the sweep.
var unusedRegions = []region{
	{"UUID digits", "the report holds no UUID; only its form is checked, nothing uses it", regexp.MustCompile(`"(?:UUID|uuid)" ?: ?"(?:GPU|SWX)-([^"]*)"`)},
	{"BoardId digits", "NVML's PCI number of the board: not in the report, nothing uses it", regexp.MustCompile(`"BoardId" ?: ?([0-9]+)`)},
}

const endReason = "white space at the end of the file, which nothing is read from"

// sweep changes a file in every way it should not survive, on all processors, so that
// accepts must be safe for concurrent use, and returns the rows of the table of those
// that it did.
func sweep(t *testing.T, name string, original []byte, accepts func([]byte) bool) []string {
	t.Helper()
	if !accepts(original) {
		t.Fatalf("%s is refused unchanged", name)
	}
	owner, first, places := findRegions(original)
	accepted := make([]int, len(unusedRegions))
	total := 8 * len(original)
	stride := 1
	if !fullSweep() {
		stride = max(1, total/sampleSize) | 1
	}
	var mu sync.Mutex
	spread(func(w, n int) {
		changed := bytes.Clone(original)
		for i := w; i < total; i += n {
			p := i / 8
			if i%stride != 0 && !first[p] {
				continue
			}
			changed[p] ^= 1 << (i % 8)
			taken := accepts(changed)
			changed[p] = original[p]
			if !taken {
				continue
			}
			mu.Lock()
			switch {
			case owner[p] == 0:
				t.Errorf("%s: bit %d of byte %d (%q) can be changed and nobody notices", name, i%8, p, original[max(0, p-20):min(len(original), p+20)])
			case first[p]:
				accepted[owner[p]-1]++
			}
			mu.Unlock()
		}
	})
	return append(rows(name, accepted, places), truncations(t, name, original, accepts, stride)...)
}

// spread runs f once on each of n processors, w counting them, and waits.
func spread(f func(w, n int)) {
	var workers sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		workers.Go(func() { f(w, n) })
	}
	workers.Wait()
}

// findRegions returns of each byte 1 + the region that it is in, and whether that
// is the first place of the region, in which every bit is changed; and how many
// places each region has.
func findRegions(original []byte) (owner []int, first []bool, places []int) {
	owner, first, places = make([]int, len(original)), make([]bool, len(original)), make([]int, len(unusedRegions))
	for i, r := range unusedRegions {
		for n, m := range r.pattern.FindAllSubmatchIndex(original, -1) {
			places[i]++
			for p := m[2]; p < m[3]; p++ {
				owner[p], first[p] = 1+i, n == 0
			}
		}
	}
	return owner, first, places
}

func rows(name string, accepted, places []int) []string {
	var out []string
	for i, n := range accepted {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s | %s | %d bits in the first of %d places | %s", name, unusedRegions[i].name, n, places[i], unusedRegions[i].reason))
		}
	}
	return out
}

func truncations(t *testing.T, name string, original []byte, accepts func([]byte) bool, stride int) []string {
	t.Helper()
	end := len(bytes.TrimRight(original, " \n")) // nothing is read from what follows
	var cut atomic.Int64
	spread(func(w, workers int) {
		for n := w; n < len(original); n += workers {
			if n%max(1, stride/8) != 0 && n < end || !accepts(original[:n:n]) {
				continue
			}
			cut.Add(1)
			if n < end {
				t.Errorf("%s: cut after %d of %d bytes it is accepted", name, n, len(original))
			}
		}
	})
	if cut.Load() == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s | cut at the end | %d lengths | %s", name, cut.Load(), endReason)}
}

func sweepVector(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Skip("NOT RUN: the sweep over the public NVIDIA evidence, RIMs and OCSP responses; set CASEMATE_VECTORS to the folder that has nvidia/")
	}
	b, err := os.ReadFile(filepath.Join(dir, "nvidia", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sweeper verifies devices, and keeps the chains that it has seen.
type sweeper struct {
	t *testing.T
	v *Verifier
}

var sweepTime = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func newSweeper(t *testing.T) *sweeper {
	v, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &sweeper{t, v}
}

func (s *sweeper) accepts(e Evidence) bool {
	return s.v.Verify(e, nil, nil, Policy{PermitUnpinned: true}, nil, sweepTime).Accepted
}

// document judges changed documents. A device that is as it was has been verified;
// one that is not is verified by itself, which makes the same checks and some
// fewer.
func (s *sweeper) document(original []byte) func([]byte) bool {
	was, err := ParseEvidence(original)
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.accepts(was) {
		s.t.Fatal("the document is refused unchanged")
	}
	return func(changed []byte) bool {
		is, err := ParseEvidence(changed)
		if err != nil {
			return false
		}
		if len(is.Devices) != len(was.Devices) || is.System != was.System {
			return s.accepts(is)
		}
		for i := range is.Devices {
			if !reflect.DeepEqual(is.Devices[i], was.Devices[i]) && !s.accepts(Evidence{Devices: is.Devices[i : i+1]}) {
				return false
			}
		}
		return true
	}
}

// rim judges changed RIMs, what is cheap first. A chain that is as it was has been
// verified.
func (s *sweeper) rim(original []byte) func([]byte) bool {
	was, err := ParseRIM(original)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := was.verifyChain(s.v.rimRoots); err != nil {
		s.t.Fatal(err)
	}
	return func(changed []byte) bool {
		is, err := ParseRIM(changed)
		if err != nil || is.signature.checkDigest(is.root) != nil {
			return false
		}
		if reflect.DeepEqual(is.signature.chain, was.signature.chain) {
			is.certs = was.certs
		} else if is.verifyChain(s.v.rimRoots) != nil {
			return false
		}
		return is.verifySignature() == nil
	}
}

// table collects the accepted changes of the files that were swept.
type table struct {
	t    *testing.T
	ran  map[string]bool
	rows []string
}

func (tb *table) sweep(name string, original []byte, accepts func([]byte) bool) {
	tb.t.Run(name, func(t *testing.T) {
		tb.ran[name] = true
		tb.rows = append(tb.rows, sweep(t, name, original, accepts)...)
	})
}

func TestNoChangeOfPublicEvidenceGoesUnnoticed(t *testing.T) {
	s, tb := newSweeper(t), &table{t: t, ran: map[string]bool{}}
	for _, name := range []string{
		"hopper_evidence.json", "hopper_evidence_cert_hold.json", "multi_gpu_hopper.json", "mpt_8x_b200.json",
		"ppcie_8x_h100_4_switches.json", "switch_evidence_ls10.json",
		"multi_switch_ls10.json",
	} {
		raw := sweepVector(t, "evidence/"+name)
		tb.sweep(name, raw, s.document(raw))
	}
	report, chain := sweepVector(t, "evidence/h100_report.bin"), sweepVector(t, "evidence/h100_chain.pem")
	tb.sweep("h100_report.bin", report, s.pair(Hopper, nil, chain))
	tb.sweep("h100_chain.pem", chain, s.pair(Hopper, report, nil))
	chain = sweepVector(t, "evidence/blackwellCertChain.txt")
	report, err := hex.DecodeString(string(sweepVector(t, "evidence/blackwellAttestationReport.txt")))
	if err != nil {
		t.Fatal(err)
	}
	tb.sweep("blackwellAttestationReport.txt, decoded", report, s.pair(Blackwell, nil, chain))
	tb.sweep("blackwellCertChain.txt", chain, s.pair(Blackwell, report, nil))
	for _, name := range []string{
		"NV_GPU_DRIVER_GH100_550.90.07.xml", "NV_GPU_DRIVER_GH100_550.144.03.xml",
		"NV_GPU_VBIOS_1010_0200_882_96009F0001.xml", "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
	} {
		raw := sweepVector(t, "rim/"+name)
		tb.sweep(name, raw, s.rim(raw))
	}
	tb.compare()
}

// pair judges a report with its chain, one of which changes.
func (s *sweeper) pair(arch Architecture, report, chain []byte) func([]byte) bool {
	return func(changed []byte) bool {
		r, c := report, chain
		if r == nil {
			r = changed
		} else {
			c = changed
		}
		e, err := NewEvidence(arch, r, c)
		return err == nil && s.accepts(e)
	}
}

// TestNoChangeOfCertificatesGoesUnnoticed changes the DER itself, of which PEM
// shows only some bits at a time.
func TestNoChangeOfCertificatesGoesUnnoticed(t *testing.T) {
	s := newSweeper(t)
	for _, tc := range []struct {
		arch Architecture
		file string
	}{{Hopper, "hopper_evidence.json"}, {LS10, "switch_evidence_ls10.json"}} {
		e, err := ParseEvidence(sweepVector(t, "evidence/"+tc.file))
		if err != nil {
			t.Fatal(err)
		}
		for i := range e.Devices[0].Chain {
			sweep(t, fmt.Sprintf("%s, certificate %d", tc.file, i), e.Devices[0].Chain[i], func(der []byte) bool {
				d := e.Devices[0]
				d.Chain = append([][]byte{}, d.Chain...)
				d.Chain[i] = der
				return s.accepts(Evidence{Devices: []Device{d}})
			})
		}
	}
}

func TestNoChangeOfOCSPResponsesGoesUnnoticed(t *testing.T) {
	device, err := NewEvidence(Hopper, sweepVector(t, "evidence/h100_report.bin"), sweepVector(t, "evidence/h100_chain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	chains := map[string][][]byte{"device": device.Devices[0].Chain}
	for name, file := range map[string]string{"driver": "NV_GPU_DRIVER_GH100_550.90.07.xml", "vbios": "NV_GPU_VBIOS_1010_0200_882_96009F0001.xml"} {
		rim, err := ParseRIM(sweepVector(t, "rim/"+file))
		if err != nil {
			t.Fatal(err)
		}
		chains[name] = rim.signature.chain
	}
	for _, tc := range []struct {
		file, chain string
		subject     int
		at          time.Time
	}{
		{"gpu_certificate_l4", "device", 1, sweepOCSPDevice},
		{"gpu_certificate_l3", "device", 2, sweepOCSPDevice},
		{"gpu_certificate_l2", "device", 3, sweepOCSPDevice},
		{"gpu_driver_rim_l4", "driver", 0, sweepOCSPRIM},
		{"gpu_vbios_l4", "vbios", 0, sweepOCSPRIM},
		{"gpu_driver_rim_l3", "driver", 1, sweepOCSPRIM},
		{"gpu_rim_l2", "driver", 2, sweepOCSPRIM},
	} {
		certs, err := parseChain(chains[tc.chain])
		if err != nil {
			t.Fatal(err)
		}
		issuers, err := issuersOf(certs[tc.subject:])
		if err != nil {
			t.Fatal(err)
		}
		subject, issuer := certs[tc.subject], &issuers[0]
		rows := sweep(t, tc.file, sweepVector(t, "ocsp/test_"+tc.file+"_base64encoded_ocsp_response.dat"), func(raw []byte) bool {
			set, err := NewOCSPSet(raw)
			if err != nil {
				return false
			}
			entry, ok := set.find(subject, issuer, tc.at)
			if !ok {
				return false
			}
			_, err = verifyOCSP(entry.response, issuer.cert)
			return err == nil
		})
		if len(rows) != 0 {
			t.Errorf("accepted although changed: %v", rows)
		}
	}
}

// Times at which the recorded responses are good.
var (
	sweepOCSPDevice = time.Date(2025, 8, 21, 12, 0, 0, 0, time.UTC)
	sweepOCSPRIM    = time.Date(2025, 10, 24, 12, 0, 0, 0, time.UTC)
)

const tableHead = "file | part | accepted | reason\n"

// compare compares the changes that were accepted with the table in testdata,
// which gives the reason of each.
func (tb *table) compare() {
	const file = "testdata/accepted_although_changed.golden"
	got := strings.Join(tb.rows, "\n") + "\n"
	tb.t.Logf("accepted although changed, of %d files (every bit and length: %t):\n%s%s", len(tb.ran), fullSweep(), tableHead, got)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			tb.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(tableHead+got), 0o644); err != nil {
			tb.t.Fatal(err)
		}
	}
	all, err := os.ReadFile(file)
	if err != nil {
		tb.t.Fatal(err)
	}
	want := ""
	for line := range strings.Lines(strings.TrimPrefix(string(all), tableHead)) {
		if name, _, _ := strings.Cut(line, " | "); tb.ran[name] {
			want += line
		}
	}
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		tb.t.Errorf("accepted although changed:\n%s\nwant (rewrite with -update once the reasons are right):\n%s", got, want)
	}
}
