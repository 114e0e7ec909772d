//go:build firmware

// Tests of whole firmware images that no package of Debian 12 has: make test-firmware
// fetches them, unpacks them into the folder CASEMATE_FIRMWARE and runs these.

package measure_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// fetched reads an image below CASEMATE_FIRMWARE and checks its SHA-256.
func fetched(t *testing.T, path, sum string) []byte {
	t.Helper()
	image, err := os.ReadFile(filepath.Join(os.Getenv("CASEMATE_FIRMWARE"), path))
	if err != nil {
		t.Fatalf("run make test-firmware, which fetches it: %v", err)
	}
	if got := sha256.Sum256(image); hex.EncodeToString(got[:]) != sum {
		t.Fatalf("%s has the SHA-256 %x, want %s", path, got, sum)
	}
	return image
}

// Ubuntu 25.04's firmware (edk2 2025.02-3ubuntu2) and its MRTD as tdx-measure has it
// in tests/fixtures/*/expected.json.
func TestMRTDOfUbuntusFirmwareIsTdxMeasures(t *testing.T) {
	const published = "7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a219786afe2cd478f684b52c61837e1114"
	image := fetched(t, "ubuntu/usr/share/ovmf/OVMF.fd", "9e807cb2cd4313406a3aa4becc0836671a5c64ca7bdc08a45e15260184b446bf")
	if got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: image}); err != nil || got.MRTD.String() != published {
		t.Errorf("MRTD is %v, %v; published is %s", got, err, published)
	}
}

// The digest of the whole image's pages is the one that its end alone is measured with.
func TestHashOfDebiansFirmware(t *testing.T) {
	image := fetched(t, "debian/usr/share/ovmf/OVMF.amdsev.fd", "3e4fd0b3fe3b2dbe481c3d9e99418a034174f26cbe1f55aa212b0f18c12d2d6f")
	if string(image[len(image)-len(debianTail):]) != string(debianTail) {
		t.Error("testdata/debian_amdsev_tail.bin is not the end of this image")
	}
	got, err := measure.FirmwareHash(image)
	if err != nil || got.String() != debianHash {
		t.Errorf("firmware hash %v, %v; want %s", got, err, debianHash)
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
