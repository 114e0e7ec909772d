package measure

import (
	"encoding/hex"
	"strings"
)

// guid is a GUID in the mixed-endian form in which firmware stores it.
type guid [16]byte

// GUIDs of OVMF's tables (OvmfPkg/ResetVector, OvmfPkg/Include/Guid).
var (
	guidTableFooter  = mustGUID("96b582de-1fb2-45f7-baea-a366c55a082d")
	guidSEVHashTable = mustGUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
	guidSEVESReset   = mustGUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
	guidSEVMetadata  = mustGUID("dc886566-984a-4798-a75e-5585a7bf67cc")
	guidTDXMetadata  = mustGUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
	guidHashesHeader = mustGUID("9438d606-4f22-4cc9-b479-a793d411fd21")
	guidHashCmdline  = mustGUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")
	guidHashInitrd   = mustGUID("44baf731-3a2f-4bd7-9af1-41e29169781d")
	guidHashKernel   = mustGUID("4de79437-abd2-427f-b835-d5b172d2045b")
)

// mustGUID turns a constant's text into its stored form: the first three groups are
// little-endian. It panics on a bad constant, at start.
func mustGUID(s string) guid {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		panic("bad GUID constant " + s)
	}
	for _, part := range [][]byte{raw[0:4], raw[4:6], raw[6:8]} {
		for i, j := 0, len(part)-1; i < j; i, j = i+1, j-1 {
			part[i], part[j] = part[j], part[i]
		}
	}
	return guid(raw)
}
