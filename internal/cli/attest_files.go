package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// Bounds on a folder of OCSP responses.
const (
	maxAttestOCSP      = 64 << 10
	maxAttestOCSPFiles = 4096
)

// ocspEndings are those of files that are meant for responses. What is in others, such
// as a note, is passed over unless it is a response.
var ocspEndings = map[string]bool{".der": true, ".dat": true, ".ocsp": true, ".b64": true}

// rootCertificates reads the DER of every certificate that --root names.
func (v *attestVerify) rootCertificates() ([][]byte, error) {
	var out [][]byte
	for _, name := range v.roots {
		b, err := v.attestFile("root", name, maxAttestCertificate)
		if err != nil {
			return nil, err
		}
		ders, err := splitCertificates(b)
		if err != nil {
			return nil, usagef("--root %s: %w", name, err)
		}
		if out = append(out, ders...); len(out) > maxAttestRoots {
			return nil, usagef("--root: more than %d certificates", maxAttestRoots)
		}
	}
	return out, nil
}

// splitCertificates returns the certificates in DER or in a PEM bundle.
func splitCertificates(b []byte) ([][]byte, error) {
	if len(b) > 0 && b[0] == 0x30 { // SEQUENCE
		return [][]byte{b}, nil
	}
	var out [][]byte
	for len(bytes.TrimSpace(b)) > 0 {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, errors.New("neither DER nor PEM")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block is %.40q, want CERTIFICATE", block.Type)
		}
		out, b = append(out, block.Bytes), rest
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return out, nil
}

func attestPEM(ders [][]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return b.Bytes()
}

// tdxRoots makes a configuration of each root.
func (v *attestVerify) tdxRoots() ([]tdx.Config, error) {
	ders, err := v.rootCertificates()
	if err != nil {
		return nil, err
	}
	var out []tdx.Config
	for _, der := range ders {
		root, err := tdx.ParseRoot(der)
		if err != nil {
			return nil, usagef("--root: %w", err)
		}
		out = append(out, tdx.Config{Root: root})
	}
	return out, nil
}

func (v *attestVerify) tdxCollateral() (*tdx.Collateral, error) {
	if v.collateral == "" {
		return nil, nil
	}
	if err := isFolder(v.collateral); err != nil {
		return nil, fmt.Errorf("--collateral: %w", err)
	}
	c, err := tdx.LoadCollateral(os.DirFS(v.collateral))
	if err != nil {
		return nil, fmt.Errorf("--collateral %s: %w", v.collateral, err)
	}
	return c, nil
}

// nvidiaVerifier trusts NVIDIA's roots and those of --root. The policy must name
// these as well, or their evidence is refused.
func (v *attestVerify) nvidiaVerifier() (*nvidia.Verifier, error) {
	var c nvidia.Config
	if len(v.roots) > 0 {
		ders, err := v.rootCertificates()
		if err != nil {
			return nil, err
		}
		for _, der := range ders {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, usagef("--root: %w", err)
			}
			c.DeviceRoots = append(c.DeviceRoots, cert)
			c.RIMRoots = append(c.RIMRoots, cert)
		}
	}
	verifier, err := nvidia.New(c)
	if err != nil {
		return nil, usagef("--root: %w", err)
	}
	return verifier, nil
}

// nvidiaFolders reads RIMs and OCSP responses. Responses that can be read but are
// none are returned as garbage, for the verdict to refuse.
func (v *attestVerify) nvidiaFolders() (rims *nvidia.RIMSet, ocsp *nvidia.OCSPSet, garbage []error, err error) {
	if v.rims != "" {
		if err := isFolder(v.rims); err != nil {
			return nil, nil, nil, fmt.Errorf("--rims: %w", err)
		}
		if rims, err = nvidia.LoadRIMs(os.DirFS(v.rims)); err != nil {
			return nil, nil, nil, fmt.Errorf("--rims %s: %w", v.rims, err)
		}
	}
	if v.ocsp != "" {
		if err := isFolder(v.ocsp); err != nil {
			return nil, nil, nil, fmt.Errorf("--ocsp: %w", err)
		}
		if ocsp, garbage, err = loadResponses(os.DirFS(v.ocsp)); err != nil {
			return nil, nil, nil, fmt.Errorf("--ocsp %s: %w", v.ocsp, err)
		}
	}
	return rims, ocsp, garbage, nil
}

func loadResponses(folder fs.FS) (*nvidia.OCSPSet, []error, error) {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, nil, err
	}
	set, err := nvidia.NewOCSPSet()
	if err != nil {
		return nil, nil, err
	}
	var garbage []error
	n := 0
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if n++; n > maxAttestOCSPFiles {
			return nil, nil, fmt.Errorf("more than %d files", maxAttestOCSPFiles)
		}
		b, err := readFrom(folder, e.Name(), maxAttestOCSP)
		if err != nil {
			return nil, nil, err
		}
		if err := set.Add(b); err != nil && ocspEndings[path.Ext(e.Name())] {
			garbage = append(garbage, fmt.Errorf("%s: %w", e.Name(), err))
		}
	}
	return set, garbage, nil
}

func readFrom(folder fs.FS, name string, limit int64) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

func isFolder(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", name)
	}
	return nil
}
