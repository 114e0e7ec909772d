package measure

import (
	"errors"
	"fmt"
	"strings"
)

// maxVCPUs bounds the vCPUs of a guest; KVM's limit on x86 is 4096.
const maxVCPUs = 4096

// featureSNP is the bit of SEV_FEATURES that every SEV-SNP guest has (APM table 15-36).
const featureSNP = 1

// SNPGuest is what an SEV-SNP launch digest depends on. Memory size and devices are
// not among it.
type SNPGuest struct {
	// Firmware is the OVMF image. Its size is a multiple of 4 KiB.
	Firmware []byte
	// FirmwareHash, if given, is the digest of the firmware's pages, and Firmware
	// need only be its tail, with the GUID table and the SEV metadata.
	FirmwareHash *Digest
	// Boot is the kernel, measured through the firmware's page of kernel hashes; nil
	// if none is handed over.
	Boot *DirectBoot
	// VCPUs is the number of vCPUs, 1 to 4096.
	VCPUs int
	// VCPUType is QEMU's name of the processor model; EC2 ignores it.
	VCPUType string
	// GuestFeatures is SEV_FEATURES; bit 0 must be set.
	GuestFeatures uint64
	// VMM is the hypervisor; empty means QEMU.
	VMM VMM
}

// FirmwareHash returns the digest of a firmware's pages, which stands for the image
// in SNPGuest.FirmwareHash.
func FirmwareHash(image []byte) (Digest, error) {
	fw, err := parseFirmware(image)
	if err != nil {
		return Digest{}, fmt.Errorf("hash firmware: %w", err)
	}
	if len(image)%pageSize != 0 {
		return Digest{}, fmt.Errorf("hash firmware: %w: %d bytes is no multiple of %d", ErrFirmware, len(image), pageSize)
	}
	var c launchContext
	c.addPages(pageNormal, fw.base(), image)
	return c.digest, nil
}

// SNPLaunchDigest computes the MEASUREMENT of an SEV-SNP guest: the firmware's pages,
// the pages that its metadata asks for, and the save area of each vCPU, in that order.
func SNPLaunchDigest(g SNPGuest) (LaunchDigest, error) {
	if err := g.check(); err != nil {
		return Digest{}, fmt.Errorf("launch digest: %w", err)
	}
	fw, err := parseFirmware(g.Firmware)
	if err != nil {
		return Digest{}, fmt.Errorf("launch digest: %w", err)
	}
	c := new(launchContext)
	if g.FirmwareHash != nil {
		c.digest = *g.FirmwareHash
	} else if c.digest, err = FirmwareHash(g.Firmware); err != nil {
		return Digest{}, fmt.Errorf("launch digest: %w", err)
	}
	if err := g.addSections(c, fw); err != nil {
		return Digest{}, fmt.Errorf("launch digest: %w", err)
	}
	if err := g.addVCPUs(c, fw); err != nil {
		return Digest{}, fmt.Errorf("launch digest: %w", err)
	}
	return c.digest, nil
}

func (g *SNPGuest) check() error {
	if g.VMM == "" {
		g.VMM = QEMU
	}
	if g.VCPUs < 1 || g.VCPUs > maxVCPUs {
		return fmt.Errorf("%d vCPUs, want 1 to %d", g.VCPUs, maxVCPUs)
	}
	if g.GuestFeatures&featureSNP == 0 {
		return fmt.Errorf("guest features 0x%x lack bit 0, which every SEV-SNP guest has", g.GuestFeatures)
	}
	if g.Boot != nil && strings.ContainsRune(g.Boot.Append, 0) {
		return errors.New("command line holds a NUL")
	}
	return nil
}

// addSections adds the pages that the firmware's metadata asks for. EC2 adds the
// CPUID pages after all others.
func (g *SNPGuest) addSections(c *launchContext, fw *firmware) error {
	sections, err := fw.sevSections()
	if err != nil {
		return err
	}
	hashed := false
	for _, s := range sections {
		switch s.kind {
		case sectionMemory, sectionSVSMArea:
			c.addEmpty(pageZero, s.gpa, s.size)
		case sectionSecrets:
			c.addEmpty(pageSecrets, s.gpa, pageSize)
		case sectionCPUID:
			if g.VMM != EC2 {
				c.addEmpty(pageCPUID, s.gpa, pageSize)
			}
		case sectionKernelHashes:
			if err := g.addKernelHashes(c, fw, s); err != nil {
				return err
			}
			hashed = hashed || s.size > 0
		default:
			return fmt.Errorf("%w: unknown SEV section kind %d", ErrFirmware, s.kind)
		}
	}
	if g.Boot != nil && !hashed {
		return fmt.Errorf("%w: it has no section for kernel hashes, so a kernel can't be measured; use one built for it, such as OVMF.amdsev.fd", ErrFirmware)
	}
	if g.VMM == EC2 {
		for _, s := range sections {
			if s.kind == sectionCPUID {
				c.addEmpty(pageCPUID, s.gpa, pageSize)
			}
		}
	}
	return nil
}

func (g *SNPGuest) addKernelHashes(c *launchContext, fw *firmware, s sevSection) error {
	if g.Boot == nil || s.size == 0 {
		c.addEmpty(pageZero, s.gpa, s.size)
		return nil
	}
	page, err := kernelHashesPage(fw, g.Boot)
	if err != nil {
		return err
	}
	if s.size != pageSize {
		return fmt.Errorf("%w: section for kernel hashes of 0x%x bytes, want one page", ErrFirmware, s.size)
	}
	c.addPages(pageNormal, s.gpa, page)
	return nil
}

// addVCPUs adds the save areas: the first vCPU starts at the reset vector, the others
// where the firmware's table says.
func (g *SNPGuest) addVCPUs(c *launchContext, fw *firmware) error {
	var signature uint64
	if g.VMM != EC2 || g.VCPUType != "" {
		var err error
		if signature, err = vcpuSignature(g.VCPUType); err != nil {
			return err
		}
	}
	eip := uint32(resetVector)
	var digest Digest
	for i := range g.VCPUs {
		if i == 1 {
			var err error
			if eip, err = fw.word(guidSEVESReset, 0, "SEV-ES reset block"); err != nil {
				return err
			}
		}
		if i <= 1 {
			state, err := resetState(g.VMM, eip, signature)
			if err != nil {
				return err
			}
			digest = sumPage(vmsaPage(state, eip, g.GuestFeatures))
		}
		c.add(pageVMSA, vmsaGPA, digest)
	}
	return nil
}
