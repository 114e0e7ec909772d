package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// synthetic is evidence under a test root as files, with the arguments that name
// them, and the library's own verdict.
type synthetic struct {
	args    []string
	files   []string // a flipped bit in one of them must be refused
	library *attest.Verdict
}

func syntheticSNP(t *testing.T) synthetic {
	t.Helper()
	s, err := sevsnptest.NewSigner(sevsnp.Turin, attestNow.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ev, err := s.Sign(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	if ev.CRL, err = s.CRL(attestNow.Add(-time.Hour), attestNow.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	v, err := sevsnp.NewVerifier(sevsnp.Config{Roots: s.Roots()})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	report, vcek, crl := attestWrite(t, "report", ev.Report), attestWrite(t, "vcek", ev.VEK), attestWrite(t, "crl", ev.CRL)
	return synthetic{
		args: []string{
			"--format", "sev-snp", "--evidence", report, "--vcek", vcek, "--chain", attestWrite(t, "chain", ev.Chain), "--crl", crl,
			"--root", attestWrite(t, "root", s.RootPEM()), "--policy", attestWrite(t, "policy", []byte("sev_snp: {allow_simulated: true, require_crl: true}")),
		},
		files:   []string{report, vcek, crl},
		library: v.Verify(ev, &sevsnp.Policy{AllowSimulated: true, RequireCRL: &yes, PermitUnpinned: true}, attestNow),
	}
}

func syntheticTDX(t *testing.T) synthetic {
	t.Helper()
	pki, err := tdxtest.NewPKI(attestNow)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := pki.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		t.Fatal(err)
	}
	q := tdxtest.NewQuote(5, 3)
	q.Chain = platform.Chain
	raw, err := platform.Quote(q)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.Collateral(tdxtest.NewCollateral(attestNow))
	if err != nil {
		t.Fatal(err)
	}
	v, err := tdx.NewVerifier(tdx.Config{Root: pki.Root.Cert})
	if err != nil {
		t.Fatal(err)
	}
	dir, quote := t.TempDir(), attestWrite(t, "quote", raw)
	files := []string{quote}
	for name, content := range map[string][]byte{
		"tcb_info.json": c.TCBInfo, "qe_identity.json": c.QEIdentity, "pck.crl": c.PCKCRL, "root.crl": c.RootCRL,
		"tcb_info_chain.pem": c.TCBInfoChain, "qe_identity_chain.pem": c.QEIdentityChain, "pck_crl_chain.pem": c.PCKCRLChain,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".crl") {
			files = append(files, path)
		}
	}
	other, err := tdxtest.NewPKI(attestNow)
	if err != nil {
		t.Fatal(err)
	}
	return synthetic{
		args: []string{
			"--format", "tdx", "--evidence", quote, "--collateral", dir,
			"--root", attestWrite(t, "roots", tdxtest.ChainPEM(other.Root.Cert, pki.Root.Cert)),
		},
		files:   files,
		library: v.Verify(tdx.Evidence{Quote: raw}, c, tdx.Policy{Absent: tdx.AbsentListed}, attestNow),
	}
}

func syntheticGPU(t *testing.T) synthetic {
	t.Helper()
	pki, err := nvidiatest.New([]byte("sixteen bytes at least"))
	if err != nil {
		t.Fatal(err)
	}
	device, err := pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: nvidia.PDI{1}})
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{7}, 32)
	d, err := device.Evidence(nvidiatest.ReportSpec{Nonce: nonce, Driver: "550.90.07", VBIOS: "96.00.9F.00.01"})
	if err != nil {
		t.Fatal(err)
	}
	evidence := nvidia.Evidence{Devices: []nvidia.Device{d}}
	document, err := nvidia.EncodeEvidence(evidence)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := evidence.RIMIDs()
	if err != nil {
		t.Fatal(err)
	}
	rims, answers := t.TempDir(), t.TempDir()
	var files []string
	put := func(path string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	versions := []string{"550.90.07", "96.00.9F.00.01"}
	for i, id := range ids {
		spec := nvidiatest.RIMSpec{Version: versions[i], Golden: []nvidia.Golden{{Index: i, Active: true, Values: [][]byte{make([]byte, 48)}}}}
		raw, err := pki.RIM(spec)
		if err != nil {
			t.Fatal(err)
		}
		put(filepath.Join(rims, id+".xml"), raw)
	}
	for i, s := 0, device.Issuer; s != nil && s.Issuer != nil; i, s = i+1, s.Issuer {
		raw, err := pki.OCSP(nvidiatest.OCSPSpec{Subject: s, Status: ocsp.Good, ThisUpdate: attestNow.Add(-time.Hour), NextUpdate: attestNow.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		put(filepath.Join(answers, fmt.Sprintf("%d.der", i)), raw)
	}
	trust := pki.Trust(nvidia.Policy{PermitUnpinned: true, RequireOCSP: new(bool)})
	v, err := nvidia.New(pki.Config())
	if err != nil {
		t.Fatal(err)
	}
	set, err := nvidia.LoadRIMs(os.DirFS(rims))
	if err != nil {
		t.Fatal(err)
	}
	responses, err := nvidia.LoadOCSP(os.DirFS(answers))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("nvidia: {device_roots: [%s], rim_roots: [%s], require_ocsp: false}", trust.DeviceRoots[0], trust.RIMRoots[0])
	var roots []byte
	for _, s := range []*nvidiatest.Signer{pki.DeviceRoot, pki.RIMRoot} {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Cert.Raw})...)
	}
	file := attestWrite(t, "gpu.json", document)
	return synthetic{
		args: []string{
			"--format", "nvidia", "--evidence", file, "--rims", rims, "--ocsp", answers, "--nonce", hex.EncodeToString(nonce),
			"--root", attestWrite(t, "roots", roots), "--policy", attestWrite(t, "policy", []byte(text)),
		},
		files:   append(slices.Clone(files[:len(ids)]), file),
		library: v.Verify(evidence, set, responses, trust, nonce, attestNow),
	}
}

func TestTheCommandSaysWhatTheLibrarySays(t *testing.T) {
	for rule, s := range map[string]synthetic{"SNP": syntheticSNP(t), "TDX": syntheticTDX(t), "NVIDIA": syntheticGPU(t)} {
		if err := s.library.Err(); err != nil {
			t.Errorf("%s: the library refuses: %v", rule, err)
			continue
		}
		r := runOffline(t, append([]string{"attest", "verify", "-o", "json"}, s.args...)...)
		r.verdictOf(t)
		want, err := json.Marshal(s.library)
		if err != nil {
			t.Fatal(err)
		}
		var got, wanted bytes.Buffer
		if err := json.Compact(&got, []byte(r.out)); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&wanted, want); err != nil {
			t.Fatal(err)
		}
		// json.Marshal writes <, > and & as escapes, and so does the command.
		if got.String() != wanted.String() {
			t.Errorf("%s: the command says\n%s\nand the library\n%s", rule, got.String(), wanted.String())
		}
	}
}

// A flipped bit is refused, with exit code 1 and a verdict: never accepted, and never
// taken for a file that can't be used.
func TestAFlippedBitInAnyFileIsARefusal(t *testing.T) {
	for rule, s := range map[string]synthetic{"SNP": syntheticSNP(t), "TDX": syntheticTDX(t), "NVIDIA": syntheticGPU(t)} {
		args := append([]string{"attest", "verify", "-o", "json"}, s.args...)
		for _, file := range s.files {
			good := attestRead(t, file)
			// Ten places in each file; in texts another letter.
			for n := range 10 {
				at := len(good) * (2*n + 1) / 20
				bad := bytes.Clone(good)
				bad[at] ^= 1
				if err := os.WriteFile(file, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if r := runOffline(t, args...); r.code != 1 || r.out == "" {
					t.Errorf("%s: bit 0 of byte %d of %s flipped: exit code %d, %s", rule, at, filepath.Base(file), r.code, r.err)
				}
			}
			// The last byte of a text may be a line end, which means nothing.
			for _, size := range []int{0, 1, len(good) / 2, len(good) - 2} {
				if err := os.WriteFile(file, good[:size], 0o600); err != nil {
					t.Fatal(err)
				}
				r := runOffline(t, args...)
				if empty := size == 0 && r.code == 2; r.code != 1 && !empty {
					t.Errorf("%s: %s cut to %d bytes: exit code %d, %s", rule, filepath.Base(file), size, r.code, r.err)
				}
			}
			if err := os.WriteFile(file, good, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := runOffline(t, args...); r.code != 0 {
			t.Errorf("%s: all is as it was, and exit code %d", rule, r.code)
		}
	}
}

// Every flag in the commands that the documentation shows is there.
func TestTheDocumentedCommandsHaveTheirFlags(t *testing.T) {
	text := string(attestRead(t, filepath.Join("..", "..", "docs", "attestation.md"))) + string(attestRead(t, filepath.Join("..", "..", "docs", "releases.md")))
	text = strings.ReplaceAll(text, "\\\n", " ")
	text = regexp.MustCompile(`(--signer-arg)=\S+`).ReplaceAllString(text, "$1 ") // another program's
	lines := regexp.MustCompile(`(?m)(?:^|\$\()casemate (attest|release) (\w+) (.*)$`).FindAllStringSubmatch(text, -1)
	if len(lines) < 11 {
		t.Fatalf("%d commands in the documentation, want at least 11", len(lines))
	}
	for _, l := range lines {
		help := runOffline(t, l[1], l[2], "--help")
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(l[3], -1) {
			if help.code != 0 || !strings.Contains(help.out, flag+" ") {
				t.Errorf("casemate %s %s has no %s", l[1], l[2], flag)
			}
		}
	}
}
