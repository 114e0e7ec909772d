package cli

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// Bounds on what is measured.
const (
	maxAttestFirmware = 64 << 20
	maxAttestKernel   = 512 << 20
	maxAttestInitrd   = 2 << 30
)

// attestMeasure is one `attest measure`.
type attestMeasure struct {
	*app
	format, firmware, hash, kernel, initrd, append string
	vcpus                                          int
	vcpuType, features, vmm, kernelForm            string
	memoryMiB                                      uint64
	cmd                                            *cobra.Command
}

// measureOf are the flags that only one format has.
var measureOf = map[string][]string{
	string(attest.FormatSEVSNP): {"firmware-hash", "vcpus", "vcpu-type", "guest-features", "vmm"},
	string(attest.FormatTDX):    {"kernel-form", "memory"},
}

func newAttestMeasure(a *app) *cobra.Command {
	m := &attestMeasure{app: a}
	c := &cobra.Command{
		Use: "measure", Short: "Compute what the evidence of a machine will say, from its files", Args: cobra.NoArgs,
		Long: `Compute what the evidence of a machine will say, from its files: the launch digest
of SEV-SNP, or MRTD, RTMR1 and RTMR2 of TDX. RTMR0 depends on the machine's shape
and can't be computed from files.

With --firmware-hash, --firmware may be the end of the image alone.
Exit codes: 0 done; 2 arguments or files that can't be used.`,
		Example: `  casemate attest measure --format sev-snp --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd.img \
      --append 'console=ttyS0' --vcpus 4 --vcpu-type EPYC-v4 --guest-features 0x1 -o json
  casemate attest measure --format tdx --firmware OVMF.inteltdx.fd --kernel vmlinuz --initrd initrd.img -o json`,
		RunE: attestRun(m.run),
	}
	f := c.Flags()
	f.StringVar(&m.format, "format", "", "sev-snp or tdx")
	f.StringVar(&m.firmware, "firmware", "", "the firmware image")
	f.StringVar(&m.hash, "firmware-hash", "", "sev-snp: the digest of the firmware's pages, 96 hex digits")
	f.StringVar(&m.kernel, "kernel", "", "the kernel that is handed to the firmware")
	f.StringVar(&m.initrd, "initrd", "", "the initrd that goes with it")
	f.StringVar(&m.append, "append", "", "the kernel's command line")
	f.IntVar(&m.vcpus, "vcpus", 0, "sev-snp: the number of vCPUs")
	f.StringVar(&m.vcpuType, "vcpu-type", "", "sev-snp: QEMU's name of the processor model (EPYC-v4); ec2 needs none")
	f.StringVar(&m.features, "guest-features", "0x1", "sev-snp: SEV_FEATURES")
	f.StringVar(&m.vmm, "vmm", "qemu", "sev-snp: qemu or ec2")
	f.StringVar(&m.kernelForm, "kernel-form", "patched", "tdx: patched, as QEMU up to 9.2 or firmware up to edk2-stable202502 has it, or as-is, as newer ones do")
	f.Uint64Var(&m.memoryMiB, "memory", 0, "tdx: memory in MiB, which matters for a patched kernel below 2816 (default more than that)")
	mustComplete(c, "format", cobra.FixedCompletions([]string{"sev-snp", "tdx"}, cobra.ShellCompDirectiveNoFileComp))
	mustComplete(c, "vcpu-type", cobra.FixedCompletions(measure.VCPUTypes(), cobra.ShellCompDirectiveNoFileComp))
	mustComplete(c, "vmm", cobra.FixedCompletions([]string{"qemu", "ec2"}, cobra.ShellCompDirectiveNoFileComp))
	mustComplete(c, "kernel-form", cobra.FixedCompletions([]string{"patched", "as-is"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (m *attestMeasure) run(cmd *cobra.Command) error {
	m.cmd = cmd
	allowed, ok := measureOf[m.format]
	switch {
	case !ok:
		return usagef("--format is sev-snp or tdx, not %q", m.format)
	case m.firmware == "":
		return usagef("--firmware names the firmware image; it is missing")
	}
	var special []string
	for _, flags := range measureOf {
		special = append(special, flags...)
	}
	if err := attestOnly(cmd, m.format, special, allowed); err != nil {
		return err
	}
	if m.format == string(attest.FormatTDX) {
		return m.tdx()
	}
	return m.snp()
}

func (m *attestMeasure) snp() error {
	guest, err := m.snpFlags()
	if err != nil {
		return err
	}
	if guest.Firmware, err = m.attestFile("firmware", m.firmware, maxAttestFirmware); err != nil {
		return err
	}
	if guest.Boot, err = m.boot(); err != nil {
		return err
	}
	digest, err := measure.SNPLaunchDigest(guest)
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	return m.showDigests(struct {
		LaunchDigest measure.Digest `json:"launch_digest"`
	}{digest}, [][2]string{{"launch_digest", digest.String()}})
}

func (m *attestMeasure) snpFlags() (measure.SNPGuest, error) {
	g := measure.SNPGuest{VCPUs: m.vcpus, VCPUType: m.vcpuType, VMM: measure.VMM(m.vmm)}
	if g.VMM != measure.QEMU && g.VMM != measure.EC2 {
		return g, usagef("--vmm is qemu or ec2, not %q", m.vmm)
	}
	if m.vcpus < 1 {
		return g, usagef("--vcpus is the number of vCPUs, from 1")
	}
	if m.vcpuType == "" && g.VMM != measure.EC2 {
		return g, usagef("--vcpu-type names the processor model, such as EPYC-v4; it is missing")
	}
	features, err := strconv.ParseUint(m.features, 0, 64)
	if err != nil {
		return g, usagef("--guest-features is a number like 0x1: %w", err)
	}
	g.GuestFeatures = features
	if m.cmd.Flags().Changed("firmware-hash") {
		hash, err := measure.ParseDigest(m.hash)
		if err != nil {
			return g, usagef("--firmware-hash: %w", err)
		}
		g.FirmwareHash = &hash
	}
	return g, nil
}

func (m *attestMeasure) tdx() error {
	guest := measure.TDXGuest{Memory: m.memoryMiB << 20}
	switch m.kernelForm {
	case "patched":
		guest.Form = measure.KernelPatched
	case "as-is":
		guest.Form = measure.KernelAsIs
	default:
		return usagef("--kernel-form is patched or as-is, not %q", m.kernelForm)
	}
	if m.memoryMiB > 1<<40 {
		return usagef("--memory is in MiB, at most %d", uint64(1)<<40)
	}
	var err error
	if guest.Firmware, err = m.attestFile("firmware", m.firmware, maxAttestFirmware); err != nil {
		return err
	}
	if guest.Boot, err = m.boot(); err != nil {
		return err
	}
	got, err := measure.MeasureTDX(guest)
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	rows := [][2]string{{"mr_td", got.MRTD.String()}}
	if got.RTMR1 != nil && got.RTMR2 != nil {
		rows = append(rows, [2]string{"rtmr1", got.RTMR1.String()}, [2]string{"rtmr2", got.RTMR2.String()})
	}
	return m.showDigests(got, rows)
}

// boot reads the kernel, if one is handed over. Kernel and initrd may be empty
// files: a page of hashes has a place for those as well.
func (m *attestMeasure) boot() (*measure.DirectBoot, error) {
	f := m.cmd.Flags()
	if m.kernel == "" {
		for _, name := range []string{"kernel", "initrd", "append"} {
			if f.Changed(name) {
				return nil, usagef("--%s needs a file named by --kernel", name)
			}
		}
		return nil, nil
	}
	if f.Changed("initrd") && m.initrd == "" {
		return nil, usagef("--initrd is empty")
	}
	kernel, err := m.attestFile("kernel", m.kernel, maxAttestKernel)
	if err != nil {
		return nil, err
	}
	initrd, err := m.attestFile("initrd", m.initrd, maxAttestInitrd)
	if err != nil {
		return nil, err
	}
	return &measure.DirectBoot{Kernel: kernel, Initrd: initrd, Append: m.append}, nil
}

// showDigests prints measurements: for programs as JSON, for people one a line.
func (a *app) showDigests(v any, rows [][2]string) error {
	if a.machine() {
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode the measurement: %w", err)
		}
		return a.structured(data)
	}
	text := ""
	for _, r := range rows {
		text += fmt.Sprintf("%-14s %s\n", r[0], r[1])
	}
	return write(a.env.Out, text)
}
