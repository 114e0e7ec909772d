package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// way are the flags that lead to the fleet's enclaves, and accept its vendors.
func (f *fleet) way() []string {
	vendor := filepath.Join(f.Dir, "vendor")
	return []string{
		"--connect-to", f.GatewayAddr,
		"--policy", filepath.Join(vendor, vendors.PolicyFile), "--simulated-roots", filepath.Join(vendor, vendors.RootsFile),
		"--simulated-collateral", filepath.Join(vendor, vendors.CollateralFolder),
	}
}

// pins writes what a client outside pins v1 of a container with, and returns the
// flags for it.
func (f *fleet) pins(t *testing.T, a app) []string {
	t.Helper()
	config, _, err := release.Parse("casemate.yml", []byte(a.config()))
	if err != nil {
		t.Fatal(err)
	}
	digest := measure.Digest(simulated.Measurement(simulated.Shape{
		ConfigDigest: config.Digest(), CVMVersion: config.CVMVersion, CPUs: uint32(config.CPUs), MemoryMiB: uint64(config.MemoryMiB), GPUs: uint32(config.GPUs),
	}))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := manifest.Sign(rand.Reader, &manifest.Manifest{
		Version: manifest.Version, Repository: "https://git.casemate.test/outside", Tag: "v1", Commit: strings.Repeat("ab", 20), Number: 1,
		Created: time.Unix(1_790_000_000, 0).UTC(), Images: config.Images(),
		Config:   manifest.Config{Name: "casemate.yml", Digest: fmt.Sprintf("sha256:%x", config.Digest()), CVM: config.CVMVersion},
		Expected: []manifest.Expected{{Platform: attest.FormatSimulated, Shape: "dev", CPUs: config.CPUs, MemoryMiB: config.MemoryMiB, GPUs: config.GPUs, Measurement: &digest}},
	}, private)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	dir, flags := t.TempDir(), f.way()
	for flag, text := range map[string][]byte{
		"manifest": signed, "signer": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}),
	} {
		path := filepath.Join(dir, flag)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--"+flag, path)
	}
	return flags
}

// tunnelTo is a running `casemate connect`.
type tunnelTo struct {
	cmd    *exec.Cmd
	errs   bytes.Buffer
	listen string
}

// connect starts the real command and returns once it listens.
func (f *fleet) connect(t *testing.T, args ...string) *tunnelTo {
	t.Helper()
	c := &tunnelTo{cmd: exec.CommandContext(t.Context(), filepath.Join(f.Bin, "casemate"), append([]string{"connect", "-o", "json", "--port", "0"}, args...)...)} //nolint:gosec // our own binary
	c.cmd.Env = append(os.Environ(), "CASEMATE_COORDINATOR="+f.Socket(), "CASEMATE_ORG=", "HOME="+t.TempDir(), "XDG_CONFIG_HOME=")
	c.cmd.Stderr = &c.errs
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var opened struct {
		Listen  string         `json:"listen"`
		Verdict attest.Verdict `json:"verdict"`
	}
	if err := json.NewDecoder(out).Decode(&opened); err != nil || !opened.Verdict.Accepted {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		t.Fatalf("casemate connect says %+v, %v: %s", opened, err, &c.errs)
	}
	c.listen = opened.Listen
	return c
}

// interrupt presses Ctrl-C and returns what was said on stderr.
func (c *tunnelTo) interrupt(t *testing.T) string {
	t.Helper()
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("casemate connect ends with %v", err)
	}
	return c.errs.String()
}

// ask sends a request in the clear to the local port, over a connection of its own.
func (c *tunnelTo) ask(t *testing.T) (a answer, err error) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "http://"+c.listen+"/", nil)
	if err != nil {
		return a, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return a, err
	}
	return a, json.Unmarshal(body, &a)
}

func TestAClientVerifiesAnEnclaveFromOutsideAndConnectsToItOnly(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	f.running(t, "outside", app{}, app{image: 1})
	defer f.remove(t, "outside")
	url, pins := "https://"+domain("outside"), f.pins(t, app{})

	says(t, f.ok(t, append([]string{"attest", "verify", url}, pins...)...),
		"sev-snp evidence is accepted", "✓ key_binding", "✓ release_manifest", "✓ domain_binding", "insecure: simulated", "not compared: ")
	digest := f.get(t, "outside").GetActivePlatformDigest()
	says(t, f.ok(t, "container", "get", "outside"), digest)
	says(t, f.ok(t, append([]string{"attest", "verify", url, "--platform-digest", digest}, pins...)...), "✓ platform_binding")
	says(t, f.fails(t, 1, "", append([]string{"attest", "verify", url, "--platform-digest", strings.Repeat("0", len(digest))}, pins...)...).out, "✗ platform_binding")
	f.fails(t, 2, "--not-pinned release", "attest", "verify", url, "--connect-to", f.GatewayAddr)
	f.fails(t, 2, "gave no evidence", append([]string{"attest", "verify", "https://nobody.casemate.test"}, pins...)...)

	tunnel := f.connect(t, append([]string{"outside"}, pins...)...)
	if a, err := tunnel.ask(t); err != nil || a.Container != "outside" || a.Tag != "v1" {
		t.Errorf("through the tunnel %+v answers, %v", a, err)
	}
	f.updated(t, "outside", "v2", nil, cv1.UpdateStatus_UPDATE_STATUS_SUCCEEDED)
	if a, err := tunnel.ask(t); err == nil {
		t.Errorf("a tunnel pinned to v1 passes on to %+v", a)
	}
	if told := tunnel.interrupt(t); !strings.Contains(told, "config_binding") || !strings.Contains(told, "outside is "+domain("outside")) {
		t.Errorf("connect says %s, want the domain that the coordinator told, and why nothing passes", told)
	}
	says(t, f.fails(t, 1, "", append([]string{"attest", "verify", url}, pins...)...).out, "is refused", "✗ measurement", "✗ config_binding")
}
