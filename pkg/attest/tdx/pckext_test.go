package tdx

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// intelRootTime lies within the validity of Intel's certificates.
var intelRootTime = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// sgxExtension is laid out like the SGX extension of a platform with several
// packages, seven members and all.
const sgxExtension = "" +
	"30820226301e060a2a864886f84d010d01010410000102030405060708090a0b0c0d0e0f30820163060a2a864886f84d" +
	"010d0102308201533010060b2a864886f84d010d0102010201033010060b2a864886f84d010d0102020201033010060b" +
	"2a864886f84d010d0102030201023010060b2a864886f84d010d0102040201023010060b2a864886f84d010d01020502" +
	"01043010060b2a864886f84d010d0102060201013010060b2a864886f84d010d0102070201003010060b2a864886f84d" +
	"010d0102080201053010060b2a864886f84d010d0102090201003010060b2a864886f84d010d01020a0201003010060b" +
	"2a864886f84d010d01020b0201003010060b2a864886f84d010d01020c0201003010060b2a864886f84d010d01020d02" +
	"01003010060b2a864886f84d010d01020e0201003010060b2a864886f84d010d01020f0201003010060b2a864886f84d" +
	"010d0102100201003010060b2a864886f84d010d01021102010b301f060b2a864886f84d010d01021204100303020204" +
	"01000500000000000000003010060a2a864886f84d010d0103040200003014060a2a864886f84d010d0104040600906f" +
	"000000300f060a2a864886f84d010d01050a0101301e060a2a864886f84d010d01060410101112131415161718191a1b" +
	"1c1d1e1f3044060a2a864886f84d010d010730363010060b2a864886f84d010d0107010101ff3010060b2a864886f84d" +
	"010d0107020101ff3010060b2a864886f84d010d0107030101ff"

func TestSGXExtensionIsRead(t *testing.T) {
	x, err := parseSGXExtension(mustHex(t, sgxExtension))
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(x.FMSPC[:]) != "00906f000000" || x.PCESVN != 11 || x.SGXType != 1 ||
		x.ComponentSVNs != [16]byte{3, 3, 2, 2, 4, 1, 0, 5} || hex.EncodeToString(x.PPID[:]) != "000102030405060708090a0b0c0d0e0f" ||
		x.PlatformInstanceID == ([16]byte{}) {
		t.Errorf("extension was read wrongly: %+v", x)
	}
}

func TestSGXExtensionRefuses(t *testing.T) {
	whole := mustHex(t, sgxExtension)
	change := func(old, new string) []byte {
		if strings.Count(sgxExtension, old) == 0 {
			t.Fatalf("%s is not in the extension", old)
		}
		return mustHex(t, strings.Replace(sgxExtension, old, new, 1))
	}
	const oid = "060a2a864886f84d010d01"
	for name, der := range map[string][]byte{
		"nothing":                        nil,
		"bytes after it":                 append(bytes.Clone(whole), 0),
		"a cut":                          whole[:len(whole)-1],
		"a member twice":                 change(oid+"03", oid+"04"),
		"a member of another family":     change(oid+"03", "060a2a864886f84d010d02"+"03"),
		"a PPID that is no octet string": change(oid+"010410", oid+"010c10"),
		"a TCB component twice":          change("060b2a864886f84d010d010202", "060b2a864886f84d010d010201"),
		"a negative component":           change("060b2a864886f84d010d010201020103", "060b2a864886f84d010d010201020183"),
	} {
		t.Run(name, func(t *testing.T) {
			if x, err := parseSGXExtension(der); err == nil {
				t.Errorf("expected an error, got %+v", x)
			}
		})
	}
}

func mustHex(t testing.TB, text string) []byte {
	t.Helper()
	out, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
