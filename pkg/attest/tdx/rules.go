package tdx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// TD attributes, from the Intel TDX Module ABI specification, "ATTRIBUTES". Byte
// 0 is the TUD group: a TD with any of its bits set is under debug or profiling
// by the host.
const (
	attrDebug         = 1 << 0
	attrTUD           = 0xff
	attrICSSD         = 1 << 16
	attrLASS          = 1 << 27
	attrSEPTVEDisable = 1 << 28
	attrMigratable    = 1 << 29
	attrPKS           = 1 << 30
	attrKL            = 1 << 31
	attrTPA           = 1 << 62
	attrPERFMON       = 1 << 63

	attrDefined = attrTUD | attrICSSD | attrLASS | attrSEPTVEDisable | attrMigratable | attrPKS | attrKL | attrTPA | attrPERFMON
)

// XFAM bits that every TD must have (x87, SSE), and all that the module lets a
// TD have, from the same specification, "XFAM".
const (
	xfamFixed1 = 0x3
	xfamFixed0 = 0x0006dbe7
)

// checkDebugOff refuses a TD that the host may debug or profile.
func checkDebugOff(b *Body) error {
	switch tud := b.TDAttributes[0]; {
	case tud&attrDebug != 0:
		return errors.New("the TD is in debug mode: the host can read its memory")
	case tud != 0:
		return fmt.Errorf("the TD's debug group (attribute byte 0) is %#02x, expected 0: the host can profile it", tud)
	}
	return nil
}

// checkTDAttributes judges attributes that a policy doesn't pin; byte 0 is the
// concern of [checkDebugOff].
func checkTDAttributes(value []byte, strict bool) error {
	a := binary.LittleEndian.Uint64(value) &^ attrTUD
	switch {
	case a&^attrDefined != 0:
		return fmt.Errorf("reserved bits %#x are set", a&^uint64(attrDefined))
	case a&attrMigratable != 0:
		return errors.New("the TD may be migrated to another platform; pin td_attributes to accept that")
	case strict && a&^attrSEPTVEDisable != 0:
		return fmt.Errorf("bits %#x are set, only SEPT_VE_DISABLE is expected; pin td_attributes to accept them", a&^attrSEPTVEDisable)
	}
	return nil
}

// checkXFAM judges the extended features that a policy doesn't pin.
func checkXFAM(value []byte, _ bool) error {
	x := binary.LittleEndian.Uint64(value)
	if x&xfamFixed1 != xfamFixed1 {
		return fmt.Errorf("is %#x, but bits 0 and 1 must be set", x)
	}
	if x&^xfamFixed0 != 0 {
		return fmt.Errorf("bits %#x are set, which no TD may have", x&^uint64(xfamFixed0))
	}
	return nil
}

// checkZero judges fields that are zero unless a policy says otherwise.
func checkZero(value []byte, _ bool) error {
	for _, b := range value {
		if b != 0 {
			return fmt.Errorf("is %x, expected zero", value)
		}
	}
	return nil
}
