package measure_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virtee/sev-snp-measure-go/cpuid"
	"github.com/virtee/sev-snp-measure-go/guest"
	"github.com/virtee/sev-snp-measure-go/ovmf"
	"github.com/virtee/sev-snp-measure-go/vmmtypes"
	"github.com/virtee/sev-snp-measure-go/vmsa"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// withoutHashes is firmware that sev-snp-measure-go can measure: it fails on a
// section of kernel hashes.
func withoutHashes() image {
	im := goodImage()
	im.sev = im.sev[:len(im.sev)-1]
	return im
}

func TestLaunchDigestsAgreeWithSevSnpMeasureGo(t *testing.T) {
	fw := withoutHashes().build(t)
	path := filepath.Join(t.TempDir(), "ovmf.fd")
	if err := os.WriteFile(path, fw, 0o600); err != nil {
		t.Fatal(err)
	}
	their, err := ovmf.New(path)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := guest.OVMFHash(their)
	if err != nil {
		t.Fatal(err)
	}
	ourHash, err := measure.FirmwareHash(fw)
	if err != nil || !bytes.Equal(ourHash[:], hash) {
		t.Fatalf("firmware hash %v, error %v; want %x", ourHash, err, hash)
	}
	for name := range cpuid.CpuSigs {
		for _, vcpus := range []int{1, 2, 7, 64} {
			for vmm, theirs := range map[measure.VMM]vmmtypes.VMMType{measure.QEMU: vmmtypes.QEMU, measure.EC2: vmmtypes.EC2} {
				want, err := guest.LaunchDigestFromOVMF(their, 0x21, vcpus, bytes.Clone(hash), theirs, name)
				if err != nil {
					t.Fatal(err)
				}
				g := measure.SNPGuest{Firmware: fw, VCPUs: vcpus, VCPUType: name, GuestFeatures: 0x21, VMM: vmm}
				got, err := measure.SNPLaunchDigest(g)
				if err != nil || !bytes.Equal(got[:], want) {
					t.Errorf("%s x %d on %s: %v, error %v; want %x", name, vcpus, vmm, got, err, want)
				}
				g.FirmwareHash, g.Firmware = &ourHash, fw[len(fw)-4096:]
				if tail, err := measure.SNPLaunchDigest(g); err != nil || tail != got {
					t.Errorf("%s x %d on %s from hash and tail: %v, error %v; want %v", name, vcpus, vmm, tail, err, got)
				}
			}
		}
	}
}

// Each byte of the save area agrees with sev-snp-measure-go's structure, which has
// the fields of APM table B-4 in order.
func TestSaveAreasAgreeFieldByField(t *testing.T) {
	for vmm, theirs := range map[measure.VMM]vmmtypes.VMMType{measure.QEMU: vmmtypes.QEMU, measure.EC2: vmmtypes.EC2} {
		for _, eip := range []uint32{0xFFFFFFF0, 0x0080B004} {
			area, err := vmsa.BuildSaveArea(eip, 0x21, 0x800F12, theirs)
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := binary.Write(&want, binary.LittleEndian, &area); err != nil {
				t.Fatal(err)
			}
			got, err := measure.SaveArea(vmm, eip, 0x21, 0x800F12)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != want.Len() {
				t.Fatalf("save area of %d bytes, want %d", len(got), want.Len())
			}
			for i := range got {
				if got[i] != want.Bytes()[i] {
					t.Errorf("%s at 0x%x: byte 0x%x is 0x%02x, want 0x%02x", vmm, eip, i, got[i], want.Bytes()[i])
				}
			}
		}
	}
}

func TestVCPUSignaturesAgreeWithQEMU(t *testing.T) {
	for name, want := range cpuid.CpuSigs {
		if got, err := measure.VCPUSignature(name); err != nil || got != uint64(want) {
			t.Errorf("%s: 0x%x, error %v; want 0x%x", name, got, err, want)
		}
	}
	// Family 26, model 0, stepping 0 (QEMU, EPYC-Turin): base 15, extended 11.
	if got, err := measure.VCPUSignature("EPYC-Turin"); err != nil || got != 0xB00F00 {
		t.Errorf("EPYC-Turin: 0x%x, error %v; want 0xb00f00", got, err)
	}
	for _, name := range measure.VCPUTypes() {
		if _, err := measure.VCPUSignature(name); err != nil {
			t.Errorf("listed and unknown: %v", err)
		}
	}
	for _, name := range []string{"", "epyc", "EPYC-v0", "EPYC-v6", "EPYC-v01", "EPYC-v4x", "EPYC-IBPB-v1", "Skylake", "-v1"} {
		if _, err := measure.VCPUSignature(name); err == nil {
			t.Errorf("%q is known", name)
		}
	}
}

func TestEverythingMeasuredChangesTheDigest(t *testing.T) {
	fw := goodImage().build(t)
	base := func() measure.SNPGuest {
		return measure.SNPGuest{
			Firmware: bytes.Clone(fw), VCPUs: 2, VCPUType: "EPYC-v4", GuestFeatures: 1,
			Boot: &measure.DirectBoot{Kernel: []byte("kernel"), Initrd: []byte("initrd"), Append: "quiet"},
		}
	}
	seen := map[measure.Digest]string{}
	for name, change := range map[string]func(*measure.SNPGuest){
		"nothing":       func(*measure.SNPGuest) {},
		"firmware":      func(g *measure.SNPGuest) { g.Firmware[0] ^= 1 },
		"one more vCPU": func(g *measure.SNPGuest) { g.VCPUs++ },
		"vCPU type":     func(g *measure.SNPGuest) { g.VCPUType = "EPYC-Milan" },
		"features":      func(g *measure.SNPGuest) { g.GuestFeatures = 0x21 },
		"VMM":           func(g *measure.SNPGuest) { g.VMM = measure.EC2 },
		"kernel":        func(g *measure.SNPGuest) { g.Boot.Kernel = []byte("kernal") },
		"initrd":        func(g *measure.SNPGuest) { g.Boot.Initrd = nil },
		"command line":  func(g *measure.SNPGuest) { g.Boot.Append = "" },
		"no kernel":     func(g *measure.SNPGuest) { g.Boot = nil },
	} {
		g := base()
		change(&g)
		d, err := measure.SNPLaunchDigest(g)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
	}
}

// OVMF builds for other machines, such as OVMF.inteltdx.fd, have empty sections.
func TestEmptySectionsAddNothing(t *testing.T) {
	with, without := goodImage(), withoutHashes()
	with.sev[5] = section{0, 0, 0x10}
	zero := measure.Digest{}
	g := measure.SNPGuest{Firmware: with.build(t), FirmwareHash: &zero, VCPUs: 1, VCPUType: "EPYC", GuestFeatures: 1}
	a, err := measure.SNPLaunchDigest(g)
	if err != nil {
		t.Fatal(err)
	}
	g.Firmware = without.build(t)
	if b, err := measure.SNPLaunchDigest(g); err != nil || a != b {
		t.Errorf("%v with an empty section, %v without, error %v; want the same", a, b, err)
	}
}

func TestUnusableGuestsAreRefused(t *testing.T) {
	good := func() measure.SNPGuest {
		return measure.SNPGuest{Firmware: goodImage().build(t), VCPUs: 2, VCPUType: "EPYC", GuestFeatures: 1, Boot: &measure.DirectBoot{}}
	}
	if _, err := measure.SNPLaunchDigest(good()); err != nil {
		t.Fatal(err)
	}
	with := func(f func(*image)) func(*measure.SNPGuest) {
		return func(g *measure.SNPGuest) {
			im := goodImage()
			f(&im)
			g.Firmware = im.build(t)
		}
	}
	for name, change := range map[string]func(*measure.SNPGuest){
		"no vCPU":                      func(g *measure.SNPGuest) { g.VCPUs = 0 },
		"too many vCPUs":               func(g *measure.SNPGuest) { g.VCPUs = 4097 },
		"features without SNP":         func(g *measure.SNPGuest) { g.GuestFeatures = 0x20 },
		"unknown VMM":                  func(g *measure.SNPGuest) { g.VMM = "xen" },
		"unknown vCPU type":            func(g *measure.SNPGuest) { g.VCPUType = "EPYC-v9" },
		"NUL in the command line":      func(g *measure.SNPGuest) { g.Boot.Append = "a\x00b" },
		"no firmware":                  func(g *measure.SNPGuest) { g.Firmware = nil },
		"firmware of half a page":      func(g *measure.SNPGuest) { g.Firmware = g.Firmware[2048:] },
		"firmware without a table":     func(g *measure.SNPGuest) { clear(g.Firmware[len(g.Firmware)-64:]) },
		"table longer than the image":  func(g *measure.SNPGuest) { copy(g.Firmware[len(g.Firmware)-50:], "\xff\xff") },
		"no reset block for vCPU 2":    with(func(im *image) { im.reset = 0 }),
		"no SEV metadata":              with(func(im *image) { im.sev = nil }),
		"more sections than there are": with(func(im *image) { im.sevCount = 9 }),
		"secrets page of no size":      with(func(im *image) { im.sev[2].size = 0 }),
		"empty section for hashes":     with(func(im *image) { im.sev[5] = section{0, 0, 0x10} }),
		"section of half a page":       with(func(im *image) { im.sev[0].size = 0x800 }),
		"section of 4 GiB":             with(func(im *image) { im.sev[0].size = 0xFFFFF000 }),
		"section of an unknown kind":   with(func(im *image) { im.sev[0].kind = 9 }),
		"no place for kernel hashes":   with(func(im *image) { im.hashes = [2]uint32{} }),
		"hashes across two pages":      with(func(im *image) { im.hashes = [2]uint32{0x810F80, 0x400} }),
		"too little room for hashes":   with(func(im *image) { im.hashes[1] = 175 }),
	} {
		g := good()
		change(&g)
		if d, err := measure.SNPLaunchDigest(g); err == nil {
			t.Errorf("%s: measured as %v", name, d)
		} else if !strings.HasPrefix(err.Error(), "launch digest: ") {
			t.Errorf("%s: error %q doesn't say what failed", name, err)
		}
	}
	g := good()
	g.Firmware = g.Firmware[:100]
	if _, err := measure.SNPLaunchDigest(g); !errors.Is(err, measure.ErrFirmware) {
		t.Errorf("error %v, want ErrFirmware", err)
	}
}
