package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/internal/attestation"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/enclave/attested"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// enclavePins are the flags that say which enclave is meant and what it must be.
type enclavePins struct {
	manifest, bundle string
	repo, tag        string
	signers          []string
	identity         identityTrust
	floor            uint64
	notPinned        []string
	platform         string
	connectTo        string
	policy, roots    string
	published        string
	cache, ca        string
	addresses        []string
}

// enclaveFlags are the names of those flags, but for --policy.
var enclaveFlags = []string{
	"manifest", "bundle", "signer", "trusted-root", "issuer", "subject", "sigstore", "repo", "tag", "floor", "not-pinned", "platform-digest", "connect-to",
	"simulated-roots", "simulated-collateral", "cache", "address", "ca",
}

// flags adds the flags to a command. when begins the description of each where they
// have a meaning only with some arguments.
func (p *enclavePins) flags(c *cobra.Command, when string) {
	f := c.Flags()
	f.StringVar(&p.manifest, "manifest", "", when+"the release's signed manifest, as release sign writes it (default what was pushed beside --tag in --repo)")
	f.StringVar(&p.bundle, "bundle", "", when+bundleFlag+"; --manifest is then the manifest itself")
	f.StringVar(&p.repo, "repo", "", when+"the manifest must be for this Git repository's tag, commit and config as they are now; beside --tag")
	f.StringVar(&p.tag, "tag", "", when+"the release's tag in that repository")
	f.StringArrayVar(&p.signers, "signer", nil, when+"a file with public keys, PEM, of which one must have signed the manifest; repeatable")
	p.identity.flags(f, when)
	f.Uint64Var(&p.floor, "floor", 0, when+"the lowest release number that is accepted")
	f.StringArrayVar(&p.notPinned, "not-pinned", nil, when+"accept without this pin: release (whatever runs there)")
	f.StringVar(&p.platform, "platform-digest", "", when+"the digest of the enclave's platform part, 64 hex digits (default not compared, and listed)")
	f.StringVar(&p.connectTo, "connect-to", "", when+"connect to this HOST:PORT instead of NAME's own")
	f.StringVar(&p.roots, "simulated-roots", "", when+"the root certificates, PEM, that the policy's section simulated names")
	f.StringVar(&p.published, "simulated-collateral", "", when+"a folder with what is published under those roots; nothing is fetched into it")
	f.StringVar(&p.cache, "cache", "", when+"a folder with collateral, as prefetch fills it")
	f.StringArrayVar(&p.addresses, "address", nil, when+"SERVICE=URL, or SERVICE=vendor: fetch what the folder lacks there (default fetch nothing); repeatable")
	f.StringVar(&p.ca, "ca", "", when+"trust the certificates in this PEM file for those addresses")
}

// enclaveClient is a client with what has to be closed in the end.
type enclaveClient struct {
	*attested.Client
	domain string
	end    io.Closer
}

func (c *enclaveClient) close() {
	if c != nil {
		_ = c.end.Close() // the cache of collateral: what it has is on disk
	}
}

// openEnclave makes the client for https://NAME. If the manifest is refused there is
// no client, but a verdict that says so.
func (a *app) openEnclave(ctx context.Context, p *enclavePins, address string) (*enclaveClient, *attest.Verdict, error) {
	domain, port, err := enclaveAddress(address)
	if err != nil {
		return nil, nil, err
	}
	config := attested.Config{Domain: domain, Address: net.JoinHostPort(domain, port)}
	if p.connectTo != "" {
		if host, port, err := net.SplitHostPort(p.connectTo); err != nil || host == "" || port == "" {
			return nil, nil, usagef("--connect-to is HOST:PORT, not %.300q", p.connectTo)
		}
		config.Address = p.connectTo
	}
	if config.PlatformDigest, err = p.platformDigest(); err != nil {
		return nil, nil, err
	}
	release, err := a.pinnedRelease(ctx, p)
	var refused *manifest.RefusedError
	if errors.As(err, &refused) {
		v := attest.NewVerdict("", a.env.Now())
		v.Fail(attested.CheckRelease, "%v", refused)
		return nil, v, nil
	}
	if err != nil {
		return nil, nil, err
	}
	config.Release, config.AnyRelease = release, release == nil
	j, end, err := a.enclaveJudge(p)
	if err != nil {
		return nil, nil, err
	}
	config.Judge = j
	client, err := attested.New(config)
	if err != nil {
		return nil, nil, errors.Join(usagef("%w", err), end.Close())
	}
	return &enclaveClient{client, domain, end}, nil, nil
}

// enclaveAddress takes a domain and a port from https://NAME[:PORT].
func enclaveAddress(address string) (domain, port string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", usagef("%.300q is no address: %w", address, err)
	}
	if u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", usagef("an enclave is named as https://NAME or https://NAME:PORT, not %.300q", address)
	}
	domain = strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if net.ParseIP(domain) != nil {
		return "", "", usagef("%s is an address and no domain: name the enclave's domain, and say --connect-to %s", domain, u.Host)
	}
	if port = u.Port(); port == "" {
		port = "443"
	}
	return domain, port, nil
}

func (p *enclavePins) platformDigest() (*[32]byte, error) {
	if p.platform == "" {
		return nil, nil
	}
	raw, err := hex.DecodeString(p.platform)
	if err != nil || len(raw) != 32 {
		return nil, usagef("--platform-digest is 64 hex digits (32 bytes), not %.80q", p.platform)
	}
	return (*[32]byte)(raw), nil
}

// enclaveJudge makes the judge, and what is closed after it.
func (a *app) enclaveJudge(p *enclavePins) (*judge.Judge, io.Closer, error) {
	services := map[string]string{}
	for _, s := range p.addresses {
		name, address, ok := strings.Cut(s, "=")
		if !ok || address == "" || services[name] != "" {
			return nil, nil, usagef("--address is SERVICE=URL, each service once, not %.300q", s)
		}
		services[name] = address
	}
	config := attestation.Config{
		Policy: p.policy, SimulatedRoots: p.roots, SimulatedCollateral: p.published,
		Collateral: attestation.Collateral{Folder: p.cache, Services: services, CA: p.ca},
	}
	// Simulated evidence is accepted only if a policy file names it.
	return config.Open(p.policy != "", a.env.Now)
}
