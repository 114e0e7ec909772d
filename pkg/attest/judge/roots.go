package judge

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// tdxVerifier verifies quotes under one root.
type tdxVerifier struct {
	*tdx.Verifier
	root *x509.Certificate // nil for Intel's
}

// ParseRoots reads root certificates from PEM, for Config.SimulatedRoots.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("read roots: want certificates in PEM and nothing else")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read roots: %w", err)
		}
		out, text = append(out, cert), rest
	}
	if len(out) == 0 {
		return nil, errors.New("read roots: no certificate in it")
	}
	return out, nil
}

// trust makes the verifiers: each trusts its vendor, and the simulated roots that
// the policy names. The kind of key tells whom a root imitates: AMD's roots are RSA,
// Intel's is P-256, NVIDIA's are P-384.
func (j *Judge) trust(given []*x509.Certificate) error {
	var amd []*x509.Certificate
	var devices nvidia.Config
	j.tdx = []tdxVerifier{{}}
	for _, root := range given {
		if !j.policy.Simulated.Names(root) {
			continue
		}
		j.roots = append(j.roots, root)
		switch key := root.PublicKey.(type) {
		case *rsa.PublicKey:
			amd = append(amd, root)
		case *ecdsa.PublicKey:
			if key.Curve == elliptic.P256() {
				j.tdx = append(j.tdx, tdxVerifier{root: root})
				continue
			}
			devices.DeviceRoots = append(devices.DeviceRoots, root)
			devices.RIMRoots = append(devices.RIMRoots, root)
		default:
			return fmt.Errorf("simulated root %q: a key of type %T is no vendor's kind", root.Subject.CommonName, key)
		}
	}
	if err := j.allNamed(); err != nil {
		return err
	}
	return j.makeVerifiers(amd, devices)
}

func (j *Judge) makeVerifiers(amd []*x509.Certificate, devices nvidia.Config) error {
	roots := sevsnp.AMDRoots()
	for _, root := range amd {
		roots = append(roots, sevsnp.Root{Certificate: root, Simulated: true})
	}
	var err error
	if j.snp, err = sevsnp.NewVerifier(sevsnp.Config{Roots: roots, Clock: j.now}); err != nil {
		return err
	}
	for i := range j.tdx {
		if j.tdx[i].Verifier, err = tdx.NewVerifier(tdx.Config{Root: j.tdx[i].root}); err != nil {
			return err
		}
	}
	j.nvidia, err = nvidia.New(devices)
	return err
}

// allNamed finds the roots that the policy names and nobody gave.
func (j *Judge) allNamed() error {
	if j.policy.Simulated == nil {
		return nil
	}
	for _, name := range j.policy.Simulated.Roots {
		found := false
		for _, root := range j.roots {
			found = found || policy.Fingerprint(root) == name
		}
		if !found {
			return fmt.Errorf("simulated.roots names %s, and no certificate with that SHA-256 was given", name)
		}
	}
	return nil
}

// TrustsSimulated tells whether the policy accepts evidence under a simulated root.
func (j *Judge) TrustsSimulated() bool { return len(j.roots) > 0 }

// simulatedRoot tells whether a certificate is one of the simulated roots.
func (j *Judge) simulatedRoot(der []byte) bool {
	for _, root := range j.roots {
		if bytes.Equal(root.Raw, der) {
			return true
		}
	}
	return false
}

// checkPins refuses pins that only a caller can know.
func checkPins(p *policy.Policy) error {
	pinned := func(key string) error {
		return fmt.Errorf("%s belongs to one enclave and is compared in any case; leave it out", key)
	}
	if s := p.SEVSNP; s != nil {
		if s.HostData.IsSet() && !s.HostData.IsAny() {
			return pinned("sev_snp.host_data")
		}
		if s.ReportData.IsSet() && !s.ReportData.IsAny() {
			return pinned("sev_snp.report_data")
		}
	}
	if t := p.TDX; t != nil {
		if len(t.MRConfigID.Values) > 0 {
			return pinned("tdx.mr_config_id")
		}
		if len(t.ReportData.Values) > 0 {
			return pinned("tdx.report_data")
		}
	}
	return nil
}
