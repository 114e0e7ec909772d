package cli

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/release/manifest/manifesttest"
)

// recordedDigest is an entry of the recorded launch digests.
type recordedDigest struct {
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

func (d recordedDigest) args(t *testing.T, dir string) []string {
	t.Helper()
	args := []string{"attest", "measure", "-o", "json", "--format", "sev-snp", "--firmware", filepath.Join(dir, d.OVMF),
		"--vcpus", strconv.Itoa(d.VCPUs), "--vcpu-type", d.VCPUType, "--guest-features", d.Features, "--vmm", strings.ToLower(d.VMM)}
	if d.Hash != nil {
		args = append(args, "--firmware-hash", *d.Hash)
	}
	if d.Kernel != nil {
		empty := attestWrite(t, "empty", nil)
		args = append(args, "--kernel", empty, "--initrd", empty)
	}
	if d.Append != nil {
		args = append(args, "--append", *d.Append)
	}
	return args
}

func TestRecordedLaunchDigestsComeFromTheCommandLine(t *testing.T) {
	dir := filepath.Join(attestVectors(t), "measure")
	var all []recordedDigest
	if err := json.Unmarshal(attestRead(t, filepath.Join(dir, "snp.json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("%d recorded digests, want at least 10", len(all))
	}
	for _, d := range all {
		t.Run(d.Name, func(t *testing.T) {
			r := runOffline(t, d.args(t, dir)...)
			if d.MustFail {
				r.wantUnusable(t, "measure")
				return
			}
			var got map[string]string
			if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != 0 || r.err != "" {
				t.Fatalf("exit code %d, stdout %q, stderr %q: %v", r.code, r.out, r.err, err)
			}
			if len(got) != 1 || got["launch_digest"] != d.Digest {
				t.Errorf("measured %v, want launch_digest %s alone", got, d.Digest)
			}
		})
	}
}

func TestMeasureRefusesWhatItCantUse(t *testing.T) {
	firmware := attestWrite(t, "fw", make([]byte, 8192))
	snp := []string{"--format", "sev-snp", "--firmware", firmware, "--vcpus", "1", "--vcpu-type", "EPYC-v4"}
	tdx := []string{"--format", "tdx", "--firmware", firmware}
	for _, c := range []struct {
		rule string
		base []string
		args []string
		says string
	}{
		{"no format", nil, []string{"--firmware", firmware}, "--format"},
		{"nvidia has nothing to measure", nil, []string{"--format", "nvidia", "--firmware", firmware}, "--format"},
		{"no firmware", nil, []string{"--format", "tdx"}, "--firmware"},
		{"firmware that isn't there", nil, []string{"--format", "tdx", "--firmware", firmware + "x"}, "no such file"},
		{"firmware that is none", snp, nil, "measure"},
		{"TDX firmware that is none", tdx, nil, "measure"},
		{"no vCPUs", nil, []string{"--format", "sev-snp", "--firmware", firmware, "--vcpu-type", "EPYC-v4"}, "--vcpus"},
		{"vCPUs below zero", snp, []string{"--vcpus", "-1"}, "--vcpus"},
		{"no vCPU type", nil, []string{"--format", "sev-snp", "--firmware", firmware, "--vcpus", "1"}, "--vcpu-type"},
		{"unknown VMM", snp, []string{"--vmm", "xen"}, "--vmm"},
		{"features in words", snp, []string{"--guest-features", "all"}, "--guest-features"},
		{"a short firmware hash", snp, []string{"--firmware-hash", "00"}, "--firmware-hash"},
		{"an empty firmware hash", snp, []string{"--firmware-hash", ""}, "--firmware-hash"},
		{"an initrd without a kernel", snp, []string{"--initrd", firmware}, "--kernel"},
		{"a command line without a kernel", snp, []string{"--append", "quiet"}, "--kernel"},
		{"a kernel without a name", snp, []string{"--kernel", ""}, "--kernel"},
		{"a kernel that isn't there", snp, []string{"--kernel", firmware + "x"}, "--kernel"},
		{"no name of the initrd", snp, []string{"--kernel", firmware, "--initrd", ""}, "--initrd is empty"},
		{"an initrd that isn't there", snp, []string{"--kernel", firmware, "--initrd", firmware + "x"}, "--initrd"},
		{"vCPUs for TDX", tdx, []string{"--vcpus", "1"}, "no meaning"},
		{"memory for SNP", snp, []string{"--memory", "1"}, "no meaning"},
		{"another form of the kernel", tdx, []string{"--kernel-form", "raw"}, "--kernel-form"},
		{"memory beyond reason", tdx, []string{"--memory", "18446744073709551615"}, "--memory"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			args := append([]string{"attest", "measure", "-o", "json"}, c.base...)
			runOffline(t, append(args, c.args...)...).wantUnusable(t, c.says)
		})
	}
}

func TestMeasurementsForPeopleAreOneALine(t *testing.T) {
	dir := filepath.Join(attestVectors(t), "measure")
	args := []string{"attest", "measure", "--format", "sev-snp", "--firmware", filepath.Join(dir, "ovmf_AmdSev_suffix.bin"),
		"--firmware-hash", "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74",
		"--vcpus", "1", "--vcpu-type", "EPYC-v4"}
	r := runOffline(t, args...)
	if words := strings.Fields(r.out); r.code != 0 || len(words) != 2 || words[0] != "launch_digest" || len(words[1]) != 96 {
		t.Errorf("exit code %d, stdout %q; want launch_digest and 96 hex digits", r.code, r.out)
	}
	ec2 := slices.Concat(args[:len(args)-2], []string{"--vmm", "ec2"})
	if r := runOffline(t, ec2...); r.code != 0 {
		t.Errorf("ec2 without a vCPU type: exit code %d, %s", r.code, r.err)
	}
}

func TestRegistersOfTDXComeFromTheCommandLine(t *testing.T) {
	firmware, kernel := manifesttest.Firmware(), manifesttest.Kernel()
	boot := &measure.DirectBoot{Kernel: kernel, Initrd: []byte("initrd"), Append: "console=hvc0"}
	base := []string{"attest", "measure", "-o", "json", "--format", "tdx", "--firmware", attestWrite(t, "fw", firmware)}
	booted := append(slices.Clone(base), "--kernel", attestWrite(t, "k", kernel), "--initrd", attestWrite(t, "i", boot.Initrd), "--append", boot.Append)
	for _, c := range []struct {
		rule  string
		args  []string
		guest measure.TDXGuest
	}{
		{"firmware alone", base, measure.TDXGuest{Firmware: firmware}},
		{"a kernel as QEMU patches it", booted, measure.TDXGuest{Firmware: firmware, Boot: boot}},
		{"with little memory", append(slices.Clone(booted), "--memory", "2048"), measure.TDXGuest{Firmware: firmware, Boot: boot, Memory: 2 << 30}},
		{"a kernel as it is", append(slices.Clone(booted), "--kernel-form", "as-is"), measure.TDXGuest{Firmware: firmware, Boot: boot, Form: measure.KernelAsIs}},
	} {
		want, err := measure.MeasureTDX(c.guest)
		if err != nil {
			t.Fatal(err)
		}
		r := runOffline(t, c.args...)
		var got map[string]string
		if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != 0 {
			t.Fatalf("%s: exit code %d, %s%s", c.rule, r.code, r.out, r.err)
		}
		wantMembers := map[string]string{"mr_td": want.MRTD.String()}
		if want.RTMR1 != nil {
			wantMembers["rtmr1"], wantMembers["rtmr2"] = want.RTMR1.String(), want.RTMR2.String()
		}
		if !maps.Equal(got, wantMembers) {
			t.Errorf("%s: measured %v, want %v", c.rule, got, wantMembers)
		}
	}
	plain := slices.DeleteFunc(slices.Clone(booted), func(s string) bool { return s == "-o" || s == "json" })
	if r := runOffline(t, plain...); strings.Count(r.out, "\n") != 3 || !strings.HasPrefix(r.out, "mr_td ") {
		t.Errorf("for people: %q, want three lines", r.out)
	}
}
