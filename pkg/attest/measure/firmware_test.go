//go:build firmware

// Tests of firmware images that no package of Debian 12 has. Whoever has installed
// one runs its test: go test -tags firmware -run NAME ./pkg/attest/measure.

package measure_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// Ubuntu 25.04's firmware (edk2 2025.02-3ubuntu2) and its MRTD as tdx-measure has it
// in tests/fixtures/*/expected.json: whoever has that file sees that ours is the same.
func TestMRTDOfUbuntusFirmwareIsTdxMeasures(t *testing.T) {
	const (
		path      = "/usr/share/ovmf/OVMF.fd"
		sum       = "9e807cb2cd4313406a3aa4becc0836671a5c64ca7bdc08a45e15260184b446bf"
		published = "7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a219786afe2cd478f684b52c61837e1114"
	)
	image, err := os.ReadFile(path)
	if got := sha256.Sum256(image); err != nil || hex.EncodeToString(got[:]) != sum {
		t.Fatalf("%s is not that of Ubuntu's ovmf 2025.02-3ubuntu2 (SHA-256 %s): it has %x, %v", path, sum, got, err)
	}
	if got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: image}); err != nil || got.MRTD.String() != published {
		t.Errorf("MRTD is %v, %v; published is %s", got, err, published)
	}
}

// Whoever has the whole image installed sees that its digest is the one above, if it
// is of the same version.
func TestHashOfDebiansFirmware(t *testing.T) {
	const path = "/usr/share/ovmf/OVMF.amdsev.fd"
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("install a Debian's ovmf-amdsev that has %s: %v", path, err)
	}
	got, err := measure.FirmwareHash(image)
	if err != nil {
		t.Fatal(err)
	}
	if string(image[len(image)-len(debianTail):]) == string(debianTail) && got.String() != debianHash {
		t.Errorf("firmware hash %v, want %s", got, debianHash)
	}
	g := measure.SNPGuest{Firmware: image, VCPUs: 4, VCPUType: "EPYC-v4", GuestFeatures: 1, Boot: &measure.DirectBoot{Kernel: []byte("kernel")}}
	whole, err := measure.SNPLaunchDigest(g)
	if err != nil {
		t.Fatal(err)
	}
	g.Firmware, g.FirmwareHash = image[len(image)-4096:], &got
	if tail, err := measure.SNPLaunchDigest(g); err != nil || tail != whole {
		t.Errorf("from its end and hash: %v, error %v; want %v", tail, err, whole)
	}
}
