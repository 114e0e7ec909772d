// Package attestation is what agent and coordinator are told about evidence: the
// section "attestation" of their configuration, and the judge that it describes.
package attestation

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/casemate-dev/casemate/internal/yamlconfig"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
)

// Config is the section of the configuration.
type Config struct {
	// Policy is a policy file; empty accepts real hardware of all vendors, nothing
	// lenient.
	Policy string `yaml:"policy"`
	// SimulatedRoots is a PEM file with the root certificates that the policy's
	// section "simulated" names by digest.
	SimulatedRoots string `yaml:"simulated_roots"`
	// SimulatedCollateral is the folder with what is published under those roots; it
	// is looked into for evidence under one of them and for no other, and never
	// fetched into.
	SimulatedCollateral string `yaml:"simulated_collateral"`
	// Collateral says where vendors' documents come from.
	Collateral Collateral `yaml:"collateral"`
}

// Collateral says where vendors' documents come from.
type Collateral struct {
	// Folder keeps them, in the layout of `casemate attest prefetch`; empty means
	// that there are none but what evidence brings.
	Folder string `yaml:"folder"`
	// Services are https addresses by service, "vendor" for the vendor's own; a
	// service that is not there is never asked.
	Services map[string]string `yaml:"services"`
	// CA is a PEM file of certificates to trust for those addresses besides the
	// system's.
	CA string `yaml:"ca"`
}

// vendorWord stands for a vendor's own address.
const vendorWord = "vendor"

// maxFile bounds files of certificates, in bytes.
const maxFile = 1 << 20

// Check says what is wrong with the section, whose keys begin with prefix.
// simulated is whether the configuration allows insecure evidence of that name.
func (c Config) Check(prefix string, simulated bool) error {
	var errs []error
	add := func(key string, err error) {
		if err != nil {
			errs = append(errs, yamlconfig.Problem(prefix+key, "%v", err))
		}
	}
	p, err := c.policy(simulated)
	add("policy", err)
	roots, err := c.roots()
	add("simulated_roots", err)
	_, err = c.Collateral.getter()
	add("collateral.services", err)
	if c.SimulatedCollateral != "" && c.SimulatedRoots == "" {
		add("simulated_collateral", errors.New("it is of no use without simulated_roots"))
	}
	if len(errs) == 0 {
		_, err = judge.New(judge.Config{Policy: p, SimulatedRoots: roots})
		add("policy", err)
	}
	return errors.Join(errs...)
}

// Open makes the judge. What is returned with it is closed in the end.
func (c Config) Open(simulated bool, now func() time.Time) (*judge.Judge, io.Closer, error) {
	p, err := c.policy(simulated)
	if err != nil {
		return nil, nil, fmt.Errorf("attestation policy: %w", err)
	}
	roots, err := c.roots()
	if err != nil {
		return nil, nil, fmt.Errorf("attestation: simulated roots: %w", err)
	}
	getter, closer, err := c.Collateral.open(p.Collateral.AllowStale, now)
	if err != nil {
		return nil, nil, fmt.Errorf("attestation: collateral: %w", err)
	}
	fakeGetter, fakeCloser, err := Collateral{Folder: c.SimulatedCollateral}.open(p.Collateral.AllowStale, now)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("attestation: simulated collateral: %w", err), closer.Close())
	}
	both := closers{closer, fakeCloser}
	j, err := judge.New(judge.Config{Policy: p, SimulatedRoots: roots, Getter: getter, SimulatedGetter: fakeGetter, Now: now})
	if err != nil {
		return nil, nil, errors.Join(err, both.Close())
	}
	return j, both, nil
}

// closers are closed together.
type closers []io.Closer

// Close implements io.Closer.
func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

func (c Config) policy(simulated bool) (*policy.Policy, error) {
	if c.Policy == "" {
		return judge.Vendors(), nil
	}
	text, err := read(c.Policy, policy.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, err
	}
	if p.Simulated != nil && !simulated {
		return nil, errors.New("it names simulated evidence, and allow_insecure does not say simulated")
	}
	return p, nil
}

func (c Config) roots() ([]*x509.Certificate, error) {
	if c.SimulatedRoots == "" {
		return nil, nil
	}
	text, err := read(c.SimulatedRoots, maxFile)
	if err != nil {
		return nil, err
	}
	return judge.ParseRoots(text)
}

func read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return text, nil
}

// open returns a getter, nil if there is none, and what closes it.
func (c Collateral) open(stale time.Duration, now func() time.Time) (collateral.Getter, io.Closer, error) {
	next, err := c.getter()
	if err != nil {
		return nil, nil, err
	}
	if c.Folder == "" {
		return nil, io.NopCloser(nil), nil
	}
	cache, err := collateral.NewCache(collateral.CacheConfig{Folder: c.Folder, Next: next, AllowStale: stale, Clock: now})
	if err != nil {
		return nil, nil, err
	}
	return cache, cache, nil
}

// getter asks the services; nil if none is configured.
func (c Collateral) getter() (collateral.Getter, error) {
	if len(c.Services) == 0 {
		return nil, nil
	}
	if c.Folder == "" {
		return nil, errors.New("give a folder for what is fetched, too")
	}
	vendors := collateral.VendorAddresses()
	h := collateral.HTTPConfig{Addresses: map[collateral.Service]string{}}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		service, address := collateral.Service(name), c.Services[name]
		own, known := vendors[service]
		if !known {
			return nil, fmt.Errorf("%.40q is no service; there are %v", name, slices.Sorted(maps.Keys(vendors)))
		}
		if address == vendorWord {
			address = own
		}
		h.Addresses[service] = address
	}
	if err := c.trust(&h); err != nil {
		return nil, err
	}
	get, err := collateral.NewHTTP(h)
	if err != nil {
		return nil, err
	}
	// An enclave waits for its verdict: two tries, and what the cache has.
	return &collateral.Retry{Next: get, Attempts: 2}, nil
}

func (c Collateral) trust(h *collateral.HTTPConfig) error {
	if c.CA == "" {
		return nil
	}
	text, err := read(c.CA, maxFile)
	if err != nil {
		return err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s has no certificate in PEM", c.CA)
	}
	h.Transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}
	return nil
}
