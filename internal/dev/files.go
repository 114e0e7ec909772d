package dev

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/gpu/fake"
)

// maxSocketPath is what a socket's address holds on Linux, less the terminator.
const maxSocketPath = 107

// Check says whether a fleet can be made of the options, before anything is.
func (o Options) Check() error {
	if n := len(filepath.Join(o.Dir, "a99.sock")); n > maxSocketPath {
		return fmt.Errorf("folder %s is too long for a socket: choose a shorter one", o.Dir)
	}
	if o.Gateways < 0 {
		return fmt.Errorf("%d gateways: there is at least one", o.Gateways)
	}
	for _, c := range []string{"agent", "coordinator", "gateway", "guest"} {
		if _, err := os.Stat(o.Binary(c)); err != nil {
			return fmt.Errorf("%w: build the daemons with `make build`", err)
		}
	}
	for _, preset := range o.Hosts {
		if _, err := fake.Preset(preset); err != nil {
			return err
		}
	}
	return nil
}

// write makes the folder and the configuration of every process.
func (f *Fleet) write() error {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", f.Dir, err)
	}
	if err := f.writeKey(); err != nil {
		return err
	}
	if _, err := vendors.Open(f.vendor(), time.Now()); err != nil {
		return err
	}
	if err := f.put(unsignedPolicy, "simulated: {unsigned: true}\n"); err != nil {
		return err
	}
	if _, err := f.ReleaseKey(); err != nil {
		return err
	}
	for n, preset := range f.Hosts {
		if err := f.writeAgent(n, preset); err != nil {
			return err
		}
	}
	if err := f.writeCoordinator(); err != nil {
		return err
	}
	for n := range f.Gateways {
		if err := f.writeGateway(n); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) put(name, text string) error {
	if err := os.WriteFile(f.file(name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// writeKey keeps the key of a fleet that was started in this folder before.
func (f *Fleet) writeKey() error {
	if _, err := os.Stat(f.file("secrets.key")); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, since Go 1.24
	return f.put("secrets.key", base64.StdEncoding.EncodeToString(key)+"\n")
}

func (f *Fleet) writeAgent(n int, preset string) error {
	if err := f.put(fmt.Sprintf("host-%d.yaml", n+1), fmt.Sprintf("version: 1\nname: %s\npreset: %s\nmode_switch: {duration: 100ms}\n", HostName(n), preset)); err != nil {
		return err
	}
	tcp, host := "", ""
	if p := f.place(agentName(n)); p.API != "" {
		tcp, host = "  tcp: "+f.AgentAddress(n)+"\n", "    listen_host: "+p.Traffic+"\n"
	}
	return f.put(agentName(n)+".yaml", fmt.Sprintf(`name: %s
state_dir: %s
listen:
  local: %s
%sprofile: none
backend:
  kind: fake
  fake:
    guest: %s
    dir: %s
    host_file: %s
    vendor: %s
    tee: %s
%scapacity:
  cpus: 256
  memory_mib: 4194304
gpu:
  switch_modes: true
allow_insecure: [simulated, debug]
%s`, HostName(n), f.file(fmt.Sprintf("agent-%d", n+1)), f.AgentSocket(n), tcp, f.Binary("guest"),
		f.file(fmt.Sprintf("enclaves-%d", n+1)), f.file(fmt.Sprintf("host-%d.yaml", n+1)), f.vendor(), f.TEE, host, f.attestation()))
}

// vendor is the folder of the simulated vendors, which all hosts share.
func (f *Fleet) vendor() string { return f.file("vendor") }

// unsignedPolicy accepts what nobody signs.
const unsignedPolicy = "unsigned-policy.yaml"

// attestation is the section that accepts the enclaves' evidence.
func (f *Fleet) attestation() string {
	if f.TEE == NoTEE {
		return fmt.Sprintf("attestation:\n  policy: %s\n", f.file(unsignedPolicy))
	}
	return fmt.Sprintf("attestation:\n  policy: %s\n  simulated_roots: %s\n  simulated_collateral: %s\n",
		filepath.Join(f.vendor(), vendors.PolicyFile), filepath.Join(f.vendor(), vendors.RootsFile), filepath.Join(f.vendor(), vendors.CollateralFolder))
}

func (f *Fleet) writeCoordinator() error {
	tcp, err := address(f.place("coordinator").API, apiPort)
	if err != nil {
		return err
	}
	f.TCP = tcp
	releases := f.Releases
	if len(releases) == 0 {
		releases = []string{"signers:", "  - keys: [" + f.file(releasePubFile) + "]"}
	}
	more := section("releases", releases) + section("limits", f.Limits) + section("reaper", f.Reaper)
	return f.put("coordinator.yaml", fmt.Sprintf(`state_dir: %s
listen:
  local: %s
  tcp: %s
base_domain: %s
secrets_key: %s
policy:
  profiles: [none]
  allow_insecure: [simulated, debug]
git:
  local_paths: true
%s%s`, f.file("coordinator"), f.Socket(), tcp, BaseDomain, f.file("secrets.key"), f.attestation(), more))
}

func section(name string, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return name + ":\n  " + strings.Join(lines, "\n  ") + "\n"
}

func (f *Fleet) writeGateway(n int) error {
	place := f.place(gatewayName(n))
	listen, err := address(place.Traffic, trafficPort)
	if err != nil {
		return err
	}
	admin, err := address(place.API, adminPort)
	if err != nil {
		return err
	}
	if n == 0 {
		f.GatewayAddr = listen
	}
	f.GatewayAddrs, f.AdminAddrs = append(f.GatewayAddrs, listen), append(f.AdminAddrs, admin)
	return f.put(gatewayName(n)+".yaml", fmt.Sprintf(`name: gateway-%d
coordinator: %s
state_dir: %s
listen: [%q]
admin: %s
drain_timeout: 2s
`, n+1, f.coordinatorAddress(), f.file(gatewayName(n)), listen, admin))
}
