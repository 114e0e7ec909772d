package measure

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
)

// TDXMeasurement is what a TDX quote will carry. RTMR1 and RTMR2 are there only if a
// kernel was handed over.
type TDXMeasurement struct {
	MRTD  Digest  `json:"mr_td"`
	RTMR1 *Digest `json:"rtmr1,omitempty"`
	RTMR2 *Digest `json:"rtmr2,omitempty"`
}

// KernelForm is the form in which the firmware gets, and measures, the kernel.
type KernelForm int

const (
	// KernelPatched is with the setup header filled in by QEMU: firmware up to
	// edk2-stable202502, or QEMU up to 9.2.
	KernelPatched KernelForm = iota
	// KernelAsIs is the file: newer firmware takes QEMU's unpatched copy.
	KernelAsIs
)

// TDXGuest is what MRTD, RTMR1 and RTMR2 of a guest depend on.
type TDXGuest struct {
	// Firmware is the whole TDVF image, such as OVMF.inteltdx.fd.
	Firmware []byte
	// Boot is the kernel; nil if none is handed over.
	Boot *DirectBoot
	// Form is the form in which the kernel is measured.
	Form KernelForm
	// Memory is the guest's memory in bytes; it matters only for a patched kernel and
	// below 2.75 GiB. Zero means more than that.
	Memory uint64
}

// Texts of the events that every boot leaves in RTMR1 (PFP section 3.3.4.2, EDK II's
// Tcg2Dxe and TdTcg2Dxe).
const (
	textCalling  = "Calling EFI Application from Boot Option"
	textExiting  = "Exit Boot Services Invocation"
	textExited   = "Exit Boot Services Returned with Success"
	initrdOption = " initrd=initrd"
)

// MeasureTDX computes MRTD and, for a kernel that QEMU hands over, RTMR1 and RTMR2.
// RTMR1 holds the kernel and the steps of a boot without failures; RTMR2 the command
// line, to which the firmware adds " initrd=initrd", and the initrd, as Linux's EFI
// stub measures them.
func MeasureTDX(g TDXGuest) (*TDXMeasurement, error) {
	fw, err := parseFirmware(g.Firmware)
	if err != nil {
		return nil, fmt.Errorf("measure TDX guest: %w", err)
	}
	out := new(TDXMeasurement)
	if out.MRTD, err = fw.mrtd(); err != nil {
		return nil, fmt.Errorf("measure TDX guest: %w", err)
	}
	if g.Boot == nil {
		return out, nil
	}
	rtmr1, err := g.rtmr1()
	if err != nil {
		return nil, fmt.Errorf("measure TDX guest: %w", err)
	}
	rtmr2, err := g.rtmr2()
	if err != nil {
		return nil, fmt.Errorf("measure TDX guest: %w", err)
	}
	out.RTMR1, out.RTMR2 = &rtmr1, &rtmr2
	return out, nil
}

func (g *TDXGuest) rtmr1() (Digest, error) {
	kernel := g.Boot.Kernel
	if g.Form == KernelPatched {
		var err error
		if kernel, err = patchKernel(kernel, len(g.Boot.Initrd), g.Memory); err != nil {
			return Digest{}, err
		}
	}
	image, err := authenticode(kernel)
	if err != nil {
		return Digest{}, err
	}
	return replay(image, sum([]byte(textCalling)), sum(make([]byte, 4)), sum([]byte(textExiting)), sum([]byte(textExited))), nil
}

func (g *TDXGuest) rtmr2() (Digest, error) {
	line := g.Boot.Append
	if len(g.Boot.Initrd) == 0 {
		return Digest{}, errors.New("a TDX guest is measured with an initrd; none was given")
	}
	wide, err := wideText(line + initrdOption)
	if err != nil {
		return Digest{}, err
	}
	return replay(sum(wide), sum(g.Boot.Initrd)), nil
}

// wideText returns text in UTF-16LE with a final NUL. The firmware widens bytes, so
// only ASCII means the same on both sides.
func wideText(s string) ([]byte, error) {
	if i := strings.IndexFunc(s, func(r rune) bool { return r == 0 || r > 0x7E }); i >= 0 {
		return nil, fmt.Errorf("command line has a character that isn't ASCII at byte %d", i)
	}
	out := make([]byte, 0, 2*len(s)+2)
	for _, b := range []byte(s) {
		out = append(out, b, 0)
	}
	return append(out, 0, 0), nil
}

func sum(b []byte) Digest { return sha512.Sum384(b) }

// replay extends a register from zero by digests, in order.
func replay(digests ...Digest) Digest {
	var r Digest
	for _, d := range digests {
		r = r.extend(d)
	}
	return r
}

// Shapes holds RTMR0 for each named shape of virtual machine, as recorded on hardware
// and signed with a release: RTMR0 covers ACPI tables, memory map and firmware
// configuration, and can't be computed from files.
type Shapes map[string]Digest

// RTMR0 returns the register that was recorded for a shape.
func (s Shapes) RTMR0(shape string) (Digest, error) {
	d, ok := s[shape]
	if !ok {
		return Digest{}, fmt.Errorf("no RTMR0 was recorded for shape %q", shape)
	}
	return d, nil
}
