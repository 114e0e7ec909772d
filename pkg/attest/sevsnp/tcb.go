package sevsnp

import "fmt"

// RawTCB is a TCB_VERSION as it stands in reports, byte 0 first. Its layout depends
// on the product (ABI tables 5 and 6).
type RawTCB [8]byte

// TCB holds the security patch levels of a platform.
type TCB struct {
	// FMC is the level of the firmware management component; only Turin has one.
	FMC uint8 `yaml:"fmc" json:"fmc"`
	// Bootloader is the level of the AMD secure processor's bootloader.
	Bootloader uint8 `yaml:"bootloader" json:"bootloader"`
	// TEE is the level of the secure processor's operating system.
	TEE uint8 `yaml:"tee" json:"tee"`
	// SNP is the level of the SNP firmware.
	SNP uint8 `yaml:"snp" json:"snp"`
	// Microcode is the lowest microcode level of all cores.
	Microcode uint8 `yaml:"microcode" json:"microcode"`
}

// splPositions gives for each SPL number of the KDS extensions (index 1 to 9) the
// byte of TCB_VERSION that it fills, or -1 where the product has no such level.
var splPositions = map[Product][10]int{
	Milan: {-1, 0, 1, 6, 2, 3, 4, 5, 7, -1},
	Genoa: {-1, 0, 1, 6, 2, 3, 4, 5, 7, -1},
	Turin: {-1, 1, 2, 3, -1, 4, 5, 6, 7, 0},
}

// Decode reads a TCB_VERSION in the product's layout.
func (r RawTCB) Decode(p Product) TCB {
	if p == Turin {
		return TCB{FMC: r[0], Bootloader: r[1], TEE: r[2], SNP: r[3], Microcode: r[7]}
	}
	return TCB{Bootloader: r[0], TEE: r[1], SNP: r[6], Microcode: r[7]}
}

// Encode writes the levels in the product's layout.
func (t TCB) Encode(p Product) RawTCB {
	if p == Turin {
		return RawTCB{0: t.FMC, 1: t.Bootloader, 2: t.TEE, 3: t.SNP, 7: t.Microcode}
	}
	return RawTCB{0: t.Bootloader, 1: t.TEE, 6: t.SNP, 7: t.Microcode}
}

// below returns the first level of t that is lower than the floor's, and false if
// there is none. A floor for FMC refuses products without one.
func (t TCB) below(floor TCB) (string, bool) {
	for _, c := range [...]struct {
		name     string
		got, min uint8
	}{
		{"fmc", t.FMC, floor.FMC}, {"bootloader", t.Bootloader, floor.Bootloader},
		{"tee", t.TEE, floor.TEE}, {"snp", t.SNP, floor.SNP}, {"microcode", t.Microcode, floor.Microcode},
	} {
		if c.got < c.min {
			return fmt.Sprintf("%s is %d, want at least %d", c.name, c.got, c.min), true
		}
	}
	return "", false
}
