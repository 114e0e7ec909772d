package manifest

import (
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// Version is the version of the manifest that this package writes and reads.
const Version = 1

// Bounds on a manifest.
const (
	// MaxBytes is the largest manifest that is read.
	MaxBytes = 1 << 20
	// MaxExpected bounds the expected measurements.
	MaxExpected = 256
	// MaxImages bounds the images: a config has at most 64 containers.
	MaxImages = 64
	// maxText bounds texts but command lines, in bytes; maxCommandLine is Linux's
	// COMMAND_LINE_SIZE on x86.
	maxText        = 1024
	maxCommandLine = 2048
)

// Manifest says what a release is and how its enclaves are told.
type Manifest struct {
	// Version is that of this format.
	Version int `json:"version"`
	// Repository is the address that the release is deployed from, without
	// credentials.
	Repository string `json:"repository"`
	// Tag is the tag's name without refs/tags/.
	Tag string `json:"tag"`
	// Commit is what the tag names, 40 or 64 lower-case hex digits.
	Commit string `json:"commit"`
	// Number grows with every release of the repository, from 1. A floor on it
	// protects against going back to a release with known faults.
	Number uint64 `json:"number"`
	// Created is when the manifest was made, in whole seconds, UTC.
	Created time.Time `json:"created"`
	// Config is the config file.
	Config Config `json:"config"`
	// Images are the images of all containers as the config has them, with their
	// digests, sorted.
	Images []string `json:"images"`
	// Expected are the measurements of which an enclave must show one, for its
	// platform and shape.
	Expected []Expected `json:"expected"`
}

// Config is the config file that a release measures.
type Config struct {
	// Name is casemate.yml or tinfoil-config.yml.
	Name string `json:"name"`
	// Digest is sha256: and the hex of the file's SHA-256.
	Digest string `json:"digest"`
	// CVM is the CVM image's version, and its digest if the config names one.
	CVM string `json:"cvm"`
}

// Expected is what the evidence of one platform and shape will say.
type Expected struct {
	// Platform is sev-snp, tdx or simulated.
	Platform attest.Format `json:"platform"`
	// Shape is the name of the machine shape.
	Shape string `json:"shape"`
	// Debug says that it is what a debug enclave will show, which never counts for
	// one in production.
	Debug bool `json:"debug,omitempty"`
	// CPUs, MemoryMiB and GPUs are the shape's size.
	CPUs      int `json:"cpus"`
	MemoryMiB int `json:"memory_mib"`
	GPUs      int `json:"gpus"`
	// VCPUType is QEMU's name of the processor model (sev-snp).
	VCPUType string `json:"vcpu_type,omitempty"`
	// CommandLine is the kernel's; it holds the config's digest.
	CommandLine string `json:"command_line,omitempty"`
	// Firmware, Kernel and Initrd are sha256: and the hex of the files' SHA-256.
	Firmware string `json:"firmware,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Initrd   string `json:"initrd,omitempty"`
	// Measurement is the launch digest (sev-snp), or that of a simulated launch.
	Measurement *measure.Digest `json:"measurement,omitempty"`
	// MRTD, RTMR0, RTMR1 and RTMR2 are TDX's. RTMR0 is recorded for the shape; it
	// is left out where it is not known, and then not compared.
	MRTD  *measure.Digest `json:"mr_td,omitempty"`
	RTMR0 *measure.Digest `json:"rtmr0,omitempty"`
	RTMR1 *measure.Digest `json:"rtmr1,omitempty"`
	RTMR2 *measure.Digest `json:"rtmr2,omitempty"`
}

// For returns the entries of a platform and shape for production; an empty shape
// means all.
func (m *Manifest) For(platform attest.Format, shape string) []Expected {
	var out []Expected
	for _, e := range m.Of(false) {
		if e.Platform == platform && (shape == "" || e.Shape == shape) {
			out = append(out, e)
		}
	}
	return out
}

// Of returns the entries of debug enclaves, or those for production.
func (m *Manifest) Of(debug bool) []Expected {
	var out []Expected
	for _, e := range m.Expected {
		if e.Debug == debug {
			out = append(out, e)
		}
	}
	return out
}
