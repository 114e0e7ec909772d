package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
)

// attestPrefetch is one `attest prefetch`.
type attestPrefetch struct {
	*app
	format, evidence, cache, product, ca string
	addresses                            []string
	offline                              bool
	allowStale                           time.Duration
}

// amdProducts are the names that --product takes.
var amdProducts = map[string]sevsnp.Product{"": sevsnp.ProductUnknown, "Milan": sevsnp.Milan, "Genoa": sevsnp.Genoa, "Turin": sevsnp.Turin}

func newAttestPrefetch(a *app) *cobra.Command {
	p := &attestPrefetch{app: a}
	c := &cobra.Command{
		Use: "prefetch", Short: "Fetch what a later, offline verification of evidence needs", Args: cobra.NoArgs,
		Long: `Fetch what a later, offline verification of evidence needs, from the vendors'
services or from mirrors named by --address, into a folder. What is there and
doesn't end soon is not fetched again. Nothing is believed: verify judges it.

Beneath the folder lie amd/PRODUCT/ (for --vcek, --chain and --crl),
intel/FMSPC-CA/ (for --collateral), nvidia/rim/ and nvidia/ocsp/ (for --rims and
--ocsp).

Exit codes: 0 all is there; 1 something can't be had; 2 arguments or files that
can't be used.`,
		Example: `  casemate attest prefetch --format tdx --evidence quote.bin --cache ./cache
  casemate attest prefetch --format nvidia --evidence gpu.json --cache ./cache --address nvidia_rim=https://mirror.example/rim --ca mirror.pem`,
		RunE: attestRun(p.run),
	}
	f := c.Flags()
	f.StringVar(&p.format, "format", "", "sev-snp, tdx or nvidia")
	f.StringVar(&p.evidence, "evidence", "", "the evidence, as verify takes it")
	f.StringVar(&p.cache, "cache", "", "the folder")
	f.StringVar(&p.product, "product", "", "sev-snp: Milan, Genoa or Turin, for reports of version 2, which don't say")
	f.StringArrayVar(&p.addresses, "address", nil, "SERVICE=URL: ask there and only there; amd_kds, intel_pcs, intel_roots, nvidia_rim, nvidia_ocsp; repeatable (default the vendors')")
	f.StringVar(&p.ca, "ca", "", "trust the certificates in this PEM file for those addresses")
	f.BoolVar(&p.offline, "offline", false, "fetch nothing: only say what is in the folder")
	f.DurationVar(&p.allowStale, "allow-stale", 0, "how long after its end a document still counts while no newer one can be had")
	return c
}

func (p *attestPrefetch) run(cmd *cobra.Command) error {
	requests, err := p.requests()
	if err != nil {
		return err
	}
	config := collateral.CacheConfig{Folder: p.cache, AllowStale: p.allowStale, Clock: p.env.Now}
	if !p.offline {
		if config.Next, err = p.getter(); err != nil {
			return err
		}
	}
	cache, err := collateral.NewCache(config)
	if err != nil {
		return fmt.Errorf("--cache: %w", err)
	}
	outcomes, err := collateral.Prefetch(cmd.Context(), cache, requests)
	if err := errors.Join(err, cache.Close()); err != nil {
		return failedf("%w", err)
	}
	if err := p.showPrefetch(outcomes); err != nil {
		return err
	}
	if collateral.Failed(outcomes) != nil {
		return told(ExitFailed, "not all documents are there")
	}
	return nil
}

// requests reads the evidence and lists what it needs.
func (p *attestPrefetch) requests() ([]collateral.Request, error) {
	product, known := amdProducts[p.product]
	switch {
	case attestOf[p.format] == nil:
		return nil, usagef("--format is sev-snp, tdx or nvidia, not %q", p.format)
	case p.evidence == "" || p.cache == "":
		return nil, usagef("--evidence names the file with the evidence, --cache the folder; both are needed")
	case !known || p.product != "" && p.format != string(attest.FormatSEVSNP):
		return nil, usagef("--product is Milan, Genoa or Turin, and only for sev-snp")
	case p.allowStale < 0:
		return nil, usagef("--allow-stale may not be below 0")
	}
	evidence, err := p.attestFile("evidence", p.evidence, maxAttestEvidence)
	if err != nil {
		return nil, err
	}
	switch p.format {
	case string(attest.FormatSEVSNP):
		return collateral.ForReport(evidence, product)
	case string(attest.FormatTDX):
		return collateral.ForQuote(evidence)
	}
	devices, err := nvidia.ParseEvidence(evidence)
	if err != nil {
		return nil, fmt.Errorf("--evidence: %w", err)
	}
	return collateral.ForDevices(devices)
}

// getter asks the services with patience.
func (p *attestPrefetch) getter() (collateral.Getter, error) {
	config := collateral.HTTPConfig{Addresses: collateral.VendorAddresses(), Timeout: p.flags.timeout}
	if len(p.addresses) > 0 {
		config.Addresses = map[collateral.Service]string{}
	}
	for _, a := range p.addresses {
		service, address, ok := strings.Cut(a, "=")
		if !ok {
			return nil, usagef("--address is SERVICE=URL, not %q", a)
		}
		config.Addresses[collateral.Service(service)] = address
	}
	if p.ca != "" {
		text, err := p.attestFile("ca", p.ca, maxAttestCertificate)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, usagef("--ca: %s has no certificate in PEM", p.ca)
		}
		config.Transport = &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			Proxy:           http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	getter, err := collateral.NewHTTP(config)
	if err != nil {
		return nil, usagef("--address: %w", err)
	}
	return &collateral.Retry{Next: getter}, nil
}

// prefetched is a document for programs.
type prefetched struct {
	File    string `json:"file"`
	Kind    string `json:"kind"`
	Expires string `json:"expires,omitempty"`
	Stale   bool   `json:"stale,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (p *attestPrefetch) showPrefetch(outcomes []collateral.Outcome) error {
	style, list := p.view(p.env.OutTerminal).Style, []prefetched{}
	var b strings.Builder
	for _, o := range outcomes {
		row := prefetched{File: filepath.Join(p.cache, filepath.FromSlash(o.Request.File)), Kind: string(o.Request.Kind)}
		mark, text := style.Good("✓"), "never ends"
		if d := o.Document; d != nil && !d.Expires.IsZero() {
			row.Expires = d.Expires.UTC().Format(time.RFC3339)
			text = "until " + row.Expires
		}
		if d := o.Document; d != nil && d.Stale {
			row.Stale = true
			mark, text = style.Warn("!"), text+", which has passed; no newer one: "+attestClean(d.Problem)
		}
		if o.Err != nil {
			row.Error = o.Err.Error()
			mark, text = style.Bad("✗"), attestClean(o.Err)
		}
		b.WriteString("  " + mark + " " + attestClean(row.File) + "   " + text + "\n")
		list = append(list, row)
	}
	if !p.machine() {
		return write(p.env.Out, b.String())
	}
	data, err := json.Marshal(map[string]any{"documents": list})
	if err != nil {
		return fmt.Errorf("encode the list: %w", err)
	}
	return p.structured(data)
}
