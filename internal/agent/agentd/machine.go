package agentd

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/enclave"
	"github.com/casemate-dev/casemate/pkg/gpu"
)

// machines makes the simulated hardware of enclaves, nil where it is a mark that
// nobody signs. The vendors are opened, and made if need be, for the first of them.
func machines(cfg Config, inventory gpu.Inventory) func(enclave.Instance) ([]byte, error) {
	f := cfg.Backend.Fake
	if f.TEE == noTEE {
		return nil
	}
	open := sync.OnceValues(func() (*vendors.Vendors, error) { return vendors.Open(vendorFolder(cfg), time.Now()) })
	return func(in enclave.Instance) ([]byte, error) {
		v, err := open()
		if err != nil {
			return nil, err
		}
		arch, err := architecture(inventory, in.GPUs)
		if err != nil {
			return nil, err
		}
		return v.Machine(vendors.Spec{TEE: attest.Format(f.TEE), Host: cfg.Name, GPUs: in.GPUs, Architecture: arch})
	}
}

// makeJudge makes the judge of the configuration. An agent that allows simulated
// enclaves and has no policy trusts the simulated vendors of its own.
func makeJudge(cfg Config) (*judge.Judge, io.Closer, error) {
	c, simulated := cfg.Attestation, slices.Contains(cfg.AllowInsecure, allowSimulated)
	if c.Policy == "" && simulated && cfg.Backend.Kind == kindFake && cfg.Backend.Fake.TEE != noTEE {
		folder := vendorFolder(cfg)
		if _, err := vendors.Open(folder, time.Now()); err != nil {
			return nil, nil, err
		}
		c.Policy, c.SimulatedRoots = filepath.Join(folder, vendors.PolicyFile), filepath.Join(folder, vendors.RootsFile)
		c.SimulatedCollateral = filepath.Join(folder, vendors.CollateralFolder)
	}
	return c.Open(simulated, time.Now)
}

func vendorFolder(cfg Config) string {
	if v := cfg.Backend.Fake.Vendor; v != "" {
		return v
	}
	return filepath.Join(cfg.StateDir, "vendor")
}

// architecture is that of an enclave's GPUs; without any it plays no part.
func architecture(inventory gpu.Inventory, addresses []string) (nvidia.Architecture, error) {
	if len(addresses) == 0 {
		return nvidia.Hopper, nil
	}
	s, err := inventory.Snapshot(context.Background())
	if err != nil {
		return "", fmt.Errorf("look at the enclave's GPUs: %w", err)
	}
	for _, g := range s.GPUs {
		if string(g.BDF) == addresses[0] && g.Generation == gpu.Blackwell {
			return nvidia.Blackwell, nil
		}
	}
	return nvidia.Hopper, nil
}
