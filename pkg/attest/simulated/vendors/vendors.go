// Package vendors simulates AMD, Intel and NVIDIA for machines without hardware:
// roots of its own, processors and GPUs that sign real reports under them.
//
// Nothing of it endorses hardware. A policy must name the roots (its section
// "simulated") before anything under them is accepted, and verdicts are marked.
package vendors

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp/sevsnptest"
	"github.com/casemate-dev/casemate/pkg/attest/tdx/tdxtest"
)

// The files of a folder. RootsFile and PolicyFile are for whoever is to accept the
// evidence; the others hold private keys.
const (
	RootsFile  = "roots.pem"
	PolicyFile = "policy.yaml"

	amdFile    = "amd.pem"
	intelFile  = "intel.pem"
	tcbFile    = "intel-authorities.pem"
	nvidiaFile = "nvidia.seed"
)

// age is how long before now certificates begin, for clocks that differ.
const age = 24 * time.Hour

// Vendors can make machines. It is safe for concurrent use.
type Vendors struct {
	dir         string
	now         func() time.Time
	amd         *sevsnptest.Signer
	chip        *sevsnptest.Chip
	intel       *tdxtest.Platform
	authorities *tdxtest.PKI
	nvidia      *nvidiatest.PKI

	mu      sync.Mutex
	devices map[string][]byte // by what they are
}

// Open reads the vendors of a folder, which are made at the first time: that takes
// some hundred milliseconds. It publishes what they have to ([CollateralFolder]).
// Several processes may open one folder.
func Open(dir string, now time.Time) (*Vendors, error) {
	v, err := load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(dir, now); err == nil {
			v, err = load(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("simulated vendors: %w", err)
	}
	began := time.Now()
	v.dir, v.now = dir, func() time.Time { return now.Add(time.Since(began)) }
	return v, v.publishProcessors()
}

func load(dir string) (*Vendors, error) {
	v := &Vendors{devices: map[string][]byte{}}
	var err error
	read := func(name string) (text []byte) {
		if err == nil {
			text, err = os.ReadFile(filepath.Join(dir, name))
		}
		return text
	}
	amd, intel, tcb, seed := read(amdFile), read(intelFile), read(tcbFile), read(nvidiaFile)
	if err != nil {
		return nil, err
	}
	if v.amd, err = sevsnptest.ParseSigner(amd); err != nil {
		return nil, err
	}
	if v.chip, err = v.amd.NewChip(); err != nil {
		return nil, err
	}
	if v.intel, err = tdxtest.UnmarshalPlatform(intel); err != nil {
		return nil, err
	}
	if v.authorities, err = tdxtest.UnmarshalPKI(tcb); err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(seed)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", nvidiaFile, err)
	}
	v.nvidia, err = nvidiatest.New(raw)
	return v, err
}

// create makes the folder in one step; of several that do, one wins.
func create(dir string, now time.Time) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".vendors-")
	if err != nil {
		return err
	}
	if err := fill(fresh, now); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(filepath.Join(dir, amdFile)); there == nil {
			err = nil // another process was first
		}
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return nil
}

func fill(dir string, now time.Time) error {
	from := now.Add(-age).Truncate(time.Second)
	amd, err := sevsnptest.NewSigner(sevsnp.Genoa, from)
	if err != nil {
		return err
	}
	intel, err := tdxtest.NewPKI(now)
	if err != nil {
		return err
	}
	platform, err := intel.NewPlatform(tdxtest.DefaultExtensions())
	if err != nil {
		return err
	}
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails, since Go 1.24
	cards, err := nvidiatest.New(seed)
	if err != nil {
		return err
	}
	return write(dir, amd, intel, platform, seed, cards)
}

func write(dir string, amd *sevsnptest.Signer, intel *tdxtest.PKI, platform *tdxtest.Platform, seed []byte, cards *nvidiatest.PKI) error {
	amdText, err := amd.Marshal()
	if err != nil {
		return err
	}
	intelText, err := platform.Marshal()
	if err != nil {
		return err
	}
	tcbText, err := intel.Marshal()
	if err != nil {
		return err
	}
	roots := []*x509.Certificate{amd.Roots()[0].Certificate, intel.Root.Cert, cards.DeviceRoot.Cert, cards.RIMRoot.Cert}
	var rootText []byte
	for _, root := range roots {
		rootText = append(rootText, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	for name, text := range map[string][]byte{
		amdFile: amdText, intelFile: intelText, tcbFile: tcbText, nvidiaFile: []byte(hex.EncodeToString(seed) + "\n"),
		RootsFile: rootText, PolicyFile: []byte(policyText(roots)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// policyText is a policy that accepts evidence of these vendors, besides that of the
// real ones.
func policyText(roots []*x509.Certificate) string {
	var b strings.Builder
	b.WriteString(`# Accepts evidence under the simulated roots of roots.pem, for machines without
# hardware, and judges it as that of real machines, by what is in collateral/. What
# is said to be any is what differs between machines.
sev_snp: {minimum_tcb: any, allow_smt: true, chip_ids: any, require_crl: true}
tdx: {ppid: any}
nvidia: {driver_versions: any, vbios_versions: any}
simulated:
  roots:
`)
	for _, root := range roots {
		fmt.Fprintf(&b, "    - %s # %s\n", policy.Fingerprint(root), root.Subject.CommonName)
	}
	return b.String()
}
