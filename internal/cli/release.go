package cli

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/internal/yamlconfig"
	"github.com/casemate-dev/casemate/pkg/atomicfile"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
	"github.com/casemate-dev/casemate/pkg/release"
	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

func newRelease(a *app) *cobra.Command {
	c := group("release", "Measure a release, sign its manifest, publish and check it; needs no coordinator", nil,
		newReleaseMeasure(a), newReleaseSign(a), newReleaseAttach(a), newReleaseVerify(a))
	c.Long = `Measure a release, sign its manifest, publish it beside the tag, and check it. A tag
can be deployed once its manifest is there, signed by somebody whom the coordinator
trusts for the org and repository.

Exit codes: 0 done or accepted; 1 refused, with the reason; 2 arguments or files
that can't be used.`
	return c
}

// releaseMeasure is one `release measure`.
type releaseMeasure struct {
	*app
	config, platforms, repository, tag, commit, created, out string
	number                                                   uint64
}

// platformsFile says which machines a release is measured for. Files are relative
// to its own folder.
type platformsFile struct {
	// Kernel, Initrd and CommandLine are what all machines boot.
	Kernel      string `yaml:"kernel"`
	Initrd      string `yaml:"initrd"`
	CommandLine string `yaml:"command_line"`
	// Machines are the platforms and shapes.
	Machines []platformEntry `yaml:"machines"`
}

// platformEntry is one platform and shape, for each of its processor models.
type platformEntry struct {
	Platform      string   `yaml:"platform"`
	Shape         string   `yaml:"shape"`
	Firmware      string   `yaml:"firmware"`
	VCPUTypes     []string `yaml:"vcpu_types"`
	GuestFeatures string   `yaml:"guest_features"`
	VMM           string   `yaml:"vmm"`
	KernelForm    string   `yaml:"kernel_form"`
	RTMR0         string   `yaml:"rtmr0"`
	// Debug says that it is for debug enclaves.
	Debug bool `yaml:"debug"`
	// Kernel, Initrd and CommandLine take the place of those for all machines.
	Kernel      string `yaml:"kernel"`
	Initrd      string `yaml:"initrd"`
	CommandLine string `yaml:"command_line"`
}

func newReleaseMeasure(a *app) *cobra.Command {
	m := &releaseMeasure{app: a}
	c := &cobra.Command{
		Use: "measure", Short: "Write a release's manifest: what its enclaves' evidence will say", Args: cobra.NoArgs,
		Long: `Write a release's manifest: repository, tag, commit, the config's digest, the images,
and what the evidence of an enclave will say on every platform and shape that
--platforms lists (docs/attestation.md has its form). The same inputs give the same
bytes. It goes to stdout, or to --out.`,
		Example: `  casemate release measure --config casemate.yml --platforms platforms.yaml \
      --repository https://github.com/acme/api --tag v1.2.3 --commit $(git rev-parse HEAD) --number 7 --out manifest.json`,
		RunE: attestRun(func(*cobra.Command) error { return m.run() }),
	}
	f := c.Flags()
	f.StringVar(&m.config, "config", "", "the config file, casemate.yml or tinfoil-config.yml")
	f.StringVar(&m.platforms, "platforms", "", "the file with kernel, initrd, command line, and machines")
	f.StringVar(&m.repository, "repository", "", "the repository's address, as it will be deployed from")
	f.StringVar(&m.tag, "tag", "", "the release's tag")
	f.StringVar(&m.commit, "commit", "", "the commit that the tag names")
	f.Uint64Var(&m.number, "number", 0, "the release's number, above that of every release before")
	f.StringVar(&m.created, "created", "", "the manifest's time, RFC 3339 (default now)")
	f.StringVar(&m.out, "out", "", "write to this file")
	return c
}

func (m *releaseMeasure) run() error {
	for flag, value := range map[string]string{"config": m.config, "platforms": m.platforms, "repository": m.repository, "tag": m.tag, "commit": m.commit} {
		if value == "" {
			return usagef("--%s is missing", flag)
		}
	}
	if m.number == 0 {
		return usagef("--number is missing: it is at least 1, and grows with every release")
	}
	created := m.env.Now()
	if m.created != "" {
		at, err := time.Parse(time.RFC3339, m.created)
		if err != nil {
			return usagef("--created is a time like 2026-02-01T00:00:00Z: %w", err)
		}
		created = at
	}
	config, err := m.readConfig(m.config)
	if err != nil {
		return err
	}
	machines, err := m.machines()
	if err != nil {
		return err
	}
	made, err := manifest.Build(release.Release{
		Repository: m.repository, Tag: m.tag, Commit: m.commit, ConfigName: filepath.Base(m.config), Config: config,
	}, m.number, created, machines)
	if err != nil {
		return err
	}
	text, err := made.Encode()
	if err != nil {
		return err
	}
	return m.put(m.out, text)
}

// readConfig reads a config file and refuses it with its faults.
func (a *app) readConfig(path string) (*release.Config, error) {
	text, err := a.attestFile("config", path, release.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	config, _, err := release.Parse(filepath.Base(path), text)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return config, nil
}

// put writes to a file, or to stdout if none is named.
func (a *app) put(path string, text []byte) error {
	if path == "" {
		return write(a.env.Out, string(text))
	}
	if err := atomicfile.Write(path, text, 0o644); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// machines reads the platforms file and what it names.
func (m *releaseMeasure) machines() ([]manifest.Machine, error) {
	text, err := m.attestFile("platforms", m.platforms, yamlconfig.MaxFile)
	if err != nil {
		return nil, err
	}
	file, err := yamlconfig.Parse[platformsFile](yamlconfig.Source{Name: m.platforms, Text: text})
	if err != nil {
		return nil, fmt.Errorf("--platforms: %w", err)
	}
	var out []manifest.Machine
	for i, entry := range file.Machines {
		more, err := m.entry(&file, entry)
		if err != nil {
			return nil, fmt.Errorf("--platforms: machines[%d]: %w", i, err)
		}
		if out = append(out, more...); len(out) > manifest.MaxExpected {
			return nil, fmt.Errorf("--platforms: more than %d machines", manifest.MaxExpected)
		}
	}
	return out, nil
}

// beside reads a file that the platforms file names.
func (m *releaseMeasure) beside(name, what string, limit int64) ([]byte, error) {
	if name == "" {
		return nil, fmt.Errorf("--platforms: %s is missing", what)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(m.platforms), name)
	}
	return m.attestFile("platforms", name, limit)
}

// entry makes a machine of each processor model of an entry.
func (m *releaseMeasure) entry(file *platformsFile, e platformEntry) ([]manifest.Machine, error) {
	base := manifest.Machine{Platform: attest.Format(e.Platform), Shape: e.Shape, Debug: e.Debug}
	if base.Platform == attest.FormatSimulated {
		return simulatedEntry(base, e)
	}
	base.CommandLine = cmp.Or(e.CommandLine, file.CommandLine)
	var err error
	if base.Kernel, err = m.beside(cmp.Or(e.Kernel, file.Kernel), "kernel", maxAttestKernel); err != nil {
		return nil, err
	}
	if base.Initrd, err = m.beside(cmp.Or(e.Initrd, file.Initrd), "initrd", maxAttestInitrd); err != nil {
		return nil, err
	}
	if base.Firmware, err = m.beside(e.Firmware, "firmware", maxAttestFirmware); err != nil {
		return nil, err
	}
	switch base.Platform {
	case attest.FormatTDX:
		return tdxEntry(base, e)
	case attest.FormatSEVSNP:
		return snpEntry(base, e)
	}
	return nil, fmt.Errorf("platform is sev-snp, tdx or simulated, not %q", e.Platform)
}

// simulatedEntry is for development: such an enclave boots no files and protects
// nothing.
func simulatedEntry(base manifest.Machine, e platformEntry) ([]manifest.Machine, error) {
	if e.Firmware+e.Kernel+e.Initrd+e.CommandLine+e.KernelForm+e.RTMR0+e.GuestFeatures+e.VMM != "" || len(e.VCPUTypes) > 0 {
		return nil, errors.New("simulated has a shape, and no files or settings")
	}
	return []manifest.Machine{base}, nil
}

func snpEntry(base manifest.Machine, e platformEntry) ([]manifest.Machine, error) {
	if e.KernelForm != "" || e.RTMR0 != "" || len(e.VCPUTypes) == 0 {
		return nil, fmt.Errorf("sev-snp needs vcpu_types, and has no kernel_form or rtmr0")
	}
	base.VMM, base.GuestFeatures = measure.VMM(e.VMM), 1
	if e.GuestFeatures != "" {
		var err error
		if base.GuestFeatures, err = strconv.ParseUint(e.GuestFeatures, 0, 64); err != nil {
			return nil, fmt.Errorf("guest_features is a number like 0x1: %w", err)
		}
	}
	var out []manifest.Machine
	for _, model := range e.VCPUTypes {
		base.VCPUType = model
		out = append(out, base)
	}
	return out, nil
}

func tdxEntry(base manifest.Machine, e platformEntry) ([]manifest.Machine, error) {
	if len(e.VCPUTypes) > 0 || e.GuestFeatures != "" || e.VMM != "" {
		return nil, fmt.Errorf("tdx has no vcpu_types, guest_features or vmm")
	}
	switch e.KernelForm {
	case "", "patched":
	case "as-is":
		base.KernelForm = measure.KernelAsIs
	default:
		return nil, fmt.Errorf("kernel_form is patched or as-is, not %q", e.KernelForm)
	}
	if e.RTMR0 != "" {
		digest, err := measure.ParseDigest(e.RTMR0)
		if err != nil {
			return nil, fmt.Errorf("rtmr0: %w", err)
		}
		base.RTMR0 = &digest
	}
	return []manifest.Machine{base}, nil
}
