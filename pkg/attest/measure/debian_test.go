package measure_test

import (
	_ "embed"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// debianTail is the end of Debian's OVMF.amdsev.fd; testdata/README.md says which.
//
//go:embed testdata/debian_amdsev_tail.bin
var debianTail []byte

// debianHash is the digest of the whole image's pages.
const debianHash = "9d0dd8be18c86e3fe3bf0038ed75ebf5340bee69fd2632c8ff9409964575960ae1f7e84be387d2e3467bc3508d1e4806"

// The digests were computed by a program of a hundred lines that shares nothing with
// this one, on the whole image.
func TestLaunchDigestsOfDebiansFirmware(t *testing.T) {
	hash, err := measure.ParseDigest(debianHash)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cpu          string
		vcpus        int
		features     uint64
		bare, direct string
	}{
		{"EPYC", 1, 1, "d74bd3ea40b240c3228edc5177ce6193561ebff633dbd0be76d6c143b876d65102425c0e2e8a930857c48daa5eacda58", "69d5f2a246e5c1a511870b9df79498f46445ce574cf279ed0f7f7e8a67a857f24020221044631d9f17764315f288920b"},
		{"EPYC-v4", 4, 1, "13a6ae9fbaa31c91ade309c36bd5214729438abac318e01176e02a97b8bec11a4bce86b4d2b1fba2ec0481dd24ff525f", "b8ff8ddf1a45b04abdff8faea337bfaa89167696f95adb531ec6d03a3ab2ad2505844701698ae8de883d4b7fccef54f7"},
		{"EPYC-Rome-v2", 64, 1, "a7d89c586f3e30bcae2949eb7541ba3188c2c207f8ca61ae5740d776a344a569e8b488bf04466124a75e4be2c84e13e4", "d50afd815bfb28904f2e7d6113dea983ed966f6f4a162f4c092760b9dd2e470b39a6d9ab4ea8070e0f4e102fca43c423"},
		{"EPYC-Milan", 8, 1, "f81f07e040f2b0b588db0b37d6974b217e1b9759a2dd8b43d615ab68e7cc1ed7dec65010652b395609b0aa835a77ce5f", "fa38898a60db1149cdfb82a8a875ca4e00eb7d8b45164bdf646c05444f8b50d87b3188c4bdc01fbf72b49d541a524bfc"},
		{"EPYC-Genoa", 512, 1, "19d1712074816e815e6c42bbd80284f3ad992f2b1640f20a7a6f4f0a5a17b8f8ac01a14aee41616bd9fda3e262764d73", "19866efed14a8392cb5ef2c1720f069681555e72c10dd1eb76660bf6e1fce1ccda252dacf1dc65131eb16913b4f568e0"},
		{"EPYC-Turin", 2, 0x21, "4be529d591ecc664d1d73f2666d3d66d4b1b834d40437519ed19fb6c9eb773fa446a469a41bc2f6560eca7ec022663ff", "39794ffe47f0286150fd8c133388a3a1c9b039610cc5437b288a9f69c226eb005e17273576396ebd4297a0dcb19e5afd"},
	} {
		g := measure.SNPGuest{Firmware: debianTail, FirmwareHash: &hash, VCPUs: c.vcpus, VCPUType: c.cpu, GuestFeatures: c.features}
		if got, err := measure.SNPLaunchDigest(g); err != nil || got.String() != c.bare {
			t.Errorf("%s x %d: %v, error %v; want %s", c.cpu, c.vcpus, got, err, c.bare)
		}
		g.Boot = &measure.DirectBoot{Kernel: []byte("kernel"), Initrd: []byte("initrd"), Append: "console=ttyS0"}
		if got, err := measure.SNPLaunchDigest(g); err != nil || got.String() != c.direct {
			t.Errorf("%s x %d with a kernel: %v, error %v; want %s", c.cpu, c.vcpus, got, err, c.direct)
		}
	}
}
