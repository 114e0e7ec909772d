package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/attest/simulated"
	"github.com/casemate-dev/casemate/pkg/release"
)

// ConfigPlaceholder in a command line stands for the hex of the config's SHA-256.
const ConfigPlaceholder = "{config}"

// Machine is a platform and shape to measure, with the files that it boots.
type Machine struct {
	Platform attest.Format
	// Shape is its name; its size is the config's.
	Shape string
	// Debug makes it a debug enclave's: it boots other files, or another command
	// line.
	Debug bool
	// Firmware, Kernel and Initrd are the files' contents.
	Firmware, Kernel, Initrd []byte
	// CommandLine holds ConfigPlaceholder.
	CommandLine string
	// VCPUType, GuestFeatures and VMM are SEV-SNP's.
	VCPUType      string
	GuestFeatures uint64
	VMM           measure.VMM
	// KernelForm and RTMR0 are TDX's; a nil RTMR0 is not known.
	KernelForm measure.KernelForm
	RTMR0      *measure.Digest
}

// Build makes the manifest of a release: what is expected of every machine, and
// what the config says.
func Build(r release.Release, number uint64, created time.Time, machines []Machine) (*Manifest, error) {
	m := &Manifest{
		Version: Version, Repository: r.Repository, Tag: r.Tag, Commit: r.Commit, Number: number,
		Created: created.UTC().Truncate(time.Second),
		Config:  Config{Name: r.ConfigName, Digest: configDigest(r.Config), CVM: cvmOf(r.Config)},
		Images:  slices.Compact(slices.Sorted(slices.Values(r.Config.Images()))),
	}
	for i, machine := range machines {
		e, err := machine.Expect(r.Config)
		if err != nil {
			return nil, fmt.Errorf("machine %d, %s on %s: %w", i, machine.Shape, machine.Platform, err)
		}
		m.Expected = append(m.Expected, e)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("make manifest: %w", err)
	}
	return m, nil
}

func configDigest(c *release.Config) string { return fmt.Sprintf("sha256:%x", c.Digest()) }

func cvmOf(c *release.Config) string {
	if c.CVMDigest != "" {
		return c.CVMVersion + "@" + c.CVMDigest
	}
	return c.CVMVersion
}

// Expect measures a machine that runs a config.
func (m Machine) Expect(c *release.Config) (Expected, error) {
	if m.Platform == attest.FormatSimulated {
		return m.simulated(c)
	}
	line := strings.ReplaceAll(m.CommandLine, ConfigPlaceholder, fmt.Sprintf("%x", c.Digest()))
	e := Expected{
		Platform: m.Platform, Shape: m.Shape, Debug: m.Debug, CPUs: c.CPUs, MemoryMiB: c.MemoryMiB, GPUs: c.GPUs,
		CommandLine: line, Firmware: fileDigest(m.Firmware), Kernel: fileDigest(m.Kernel), Initrd: fileDigest(m.Initrd),
	}
	boot := &measure.DirectBoot{Kernel: m.Kernel, Initrd: m.Initrd, Append: line}
	switch m.Platform {
	case attest.FormatSEVSNP:
		digest, err := measure.SNPLaunchDigest(measure.SNPGuest{
			Firmware: m.Firmware, Boot: boot, VCPUs: c.CPUs, VCPUType: m.VCPUType, GuestFeatures: m.GuestFeatures, VMM: m.VMM,
		})
		if err != nil {
			return Expected{}, err
		}
		e.VCPUType, e.Measurement = m.VCPUType, &digest
	case attest.FormatTDX:
		got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: m.Firmware, Boot: boot, Form: m.KernelForm, Memory: uint64(c.MemoryMiB) << 20})
		if err != nil {
			return Expected{}, err
		}
		e.MRTD, e.RTMR0, e.RTMR1, e.RTMR2 = &got.MRTD, m.RTMR0, got.RTMR1, got.RTMR2
	default:
		return Expected{}, fmt.Errorf("platform is %.40q, want %s, %s or %s", m.Platform, attest.FormatSEVSNP, attest.FormatTDX, attest.FormatSimulated)
	}
	return e, nil
}

// simulated is what a guest without a TEE will state; it boots no files.
func (m Machine) simulated(c *release.Config) (Expected, error) {
	if len(m.Firmware)+len(m.Kernel)+len(m.Initrd)+len(m.CommandLine)+len(m.VCPUType) > 0 {
		return Expected{}, errors.New("a simulated platform boots no files")
	}
	digest := measure.Digest(simulated.Measurement(simulated.Shape{
		ConfigDigest: c.Digest(), CVMVersion: c.CVMVersion,
		CPUs: uint32(c.CPUs), MemoryMiB: uint64(c.MemoryMiB), GPUs: uint32(c.GPUs), Debug: m.Debug,
	}))
	return Expected{
		Platform: m.Platform, Shape: m.Shape, Debug: m.Debug,
		CPUs: c.CPUs, MemoryMiB: c.MemoryMiB, GPUs: c.GPUs, Measurement: &digest,
	}, nil
}

func fileDigest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
