package measure_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// vectorFile reads a file of the recorded measurements. Without CASEMATE_VECTORS the
// test says which set it did not run.
func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Log("NOT RUN: the set measure of recorded launch digests; set CASEMATE_VECTORS to its folder")
		t.SkipNow()
	}
	b, err := os.ReadFile(filepath.Join(dir, "measure", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type snpVector struct {
	Name     string  `json:"name"`
	OVMF     string  `json:"ovmf"`
	Features string  `json:"guest_features"`
	VCPUs    int     `json:"vcpus"`
	VCPUType string  `json:"vcpu_type"`
	VMM      string  `json:"vmm"`
	Hash     *string `json:"ovmf_hash"`
	Kernel   *string `json:"kernel_and_initrd"`
	Append   *string `json:"append"`
	Digest   string  `json:"launch_digest"`
	MustFail bool    `json:"must_fail"`
}

func (v snpVector) guest(t *testing.T) measure.SNPGuest {
	t.Helper()
	features, err := strconv.ParseUint(v.Features, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	g := measure.SNPGuest{
		Firmware: vectorFile(t, v.OVMF), VCPUs: v.VCPUs, VCPUType: v.VCPUType,
		GuestFeatures: features, VMM: measure.VMM(strings.ToLower(v.VMM)),
	}
	if v.Hash != nil {
		d, err := measure.ParseDigest(*v.Hash)
		if err != nil {
			t.Fatal(err)
		}
		g.FirmwareHash = &d
	}
	if v.Kernel != nil {
		g.Boot = &measure.DirectBoot{}
		if v.Append != nil {
			g.Boot.Append = *v.Append
		}
	}
	return g
}

func TestLaunchDigestsAgreeWithTheRecordedOnes(t *testing.T) {
	var vectors []snpVector
	if err := json.Unmarshal(vectorFile(t, "snp.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 10 {
		t.Fatalf("%d vectors, want at least 10", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			got, err := measure.SNPLaunchDigest(v.guest(t))
			if v.MustFail {
				if err == nil {
					t.Error("measured, want an error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != v.Digest {
				t.Errorf("launch digest %v, want %s", got, v.Digest)
			}
		})
	}
}

func TestAKernelNeedsFirmwareThatHashesIt(t *testing.T) {
	_, err := measure.SNPLaunchDigest(measure.SNPGuest{
		Firmware: vectorFile(t, "ovmf_OvmfX64_suffix.bin"), VCPUs: 1, VCPUType: "EPYC-v4", GuestFeatures: 1,
		Boot: &measure.DirectBoot{Kernel: []byte("kernel")},
	})
	if err == nil || !strings.Contains(err.Error(), "OVMF.amdsev.fd") {
		t.Errorf("error %v, want one that names the right firmware", err)
	}
}
