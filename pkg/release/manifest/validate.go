package manifest

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

var (
	commitForm = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	imageForm  = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)
	shapeForm  = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$`)
)

// Validate says what is wrong with a manifest, naming the member.
func (m *Manifest) Validate() error {
	if m.Version != Version {
		return fmt.Errorf("version is %d, this program knows %d", m.Version, Version)
	}
	if err := m.checkOrigin(); err != nil {
		return err
	}
	if err := m.checkConfig(); err != nil {
		return err
	}
	if len(m.Expected) == 0 || len(m.Expected) > MaxExpected {
		return fmt.Errorf("expected has %d entries, want 1 to %d", len(m.Expected), MaxExpected)
	}
	seen := map[string]bool{}
	for i, e := range m.Expected {
		if err := e.check(m.Config.Digest); err != nil {
			return fmt.Errorf("expected[%d]: %w", i, err)
		}
		key := fmt.Sprintf("%s\x00%s\x00%s\x00%v", e.Platform, e.Shape, e.VCPUType, e.Debug)
		if seen[key] {
			return fmt.Errorf("expected[%d]: %s, shape %s, %s stands twice", i, e.Platform, e.Shape, e.VCPUType)
		}
		seen[key] = true
	}
	return nil
}

func (m *Manifest) checkOrigin() error {
	if err := checkRepository(m.Repository); err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	if err := checkText(m.Tag, 255); err != nil || strings.ContainsAny(m.Tag, " ~^:?*[\\") {
		return errors.Join(fmt.Errorf("tag %.80q is no tag's name", m.Tag), err)
	}
	if !commitForm.MatchString(m.Commit) {
		return fmt.Errorf("commit %.80q is not 40 or 64 lower-case hex digits", m.Commit)
	}
	if m.Number == 0 || m.Number > 1<<53 {
		return fmt.Errorf("number is %d, want 1 to 2^53: it grows with every release", m.Number)
	}
	if y := m.Created.Year(); m.Created.Location() != time.UTC || m.Created.Nanosecond() != 0 || y < 2000 || y > 9999 {
		return fmt.Errorf("created is %s, want whole seconds, UTC", m.Created.Format(time.RFC3339Nano))
	}
	return nil
}

// checkRepository takes URLs and the scp-like form of git, without credentials.
func checkRepository(address string) error {
	if err := checkText(address, maxText); err != nil {
		return err
	}
	if strings.ContainsAny(address, " \\") {
		return errors.New("has a space or a backslash")
	}
	if !strings.Contains(address, "://") {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if _, secret := u.User.Password(); secret || u.RawQuery != "" || u.Fragment != "" || u.User != nil && u.Scheme != "ssh" {
		return errors.New("has credentials, a query or a fragment, which don't belong into a manifest")
	}
	return nil
}

func (m *Manifest) checkConfig() error {
	if m.Config.Name != "casemate.yml" && m.Config.Name != "tinfoil-config.yml" {
		return fmt.Errorf("config.name is %.80q, want casemate.yml or tinfoil-config.yml", m.Config.Name)
	}
	if !digestForm.MatchString(m.Config.Digest) {
		return fmt.Errorf("config.digest %.80q is not sha256: and 64 lower-case hex digits", m.Config.Digest)
	}
	if err := checkText(m.Config.CVM, maxText); err != nil {
		return fmt.Errorf("config.cvm: %w", err)
	}
	if len(m.Images) == 0 || len(m.Images) > MaxImages {
		return fmt.Errorf("images has %d entries, want 1 to %d", len(m.Images), MaxImages)
	}
	for i, image := range m.Images {
		if err := checkText(image, maxText); err != nil || !imageForm.MatchString(image) {
			return errors.Join(fmt.Errorf("images[%d] %.200q doesn't end with its digest", i, image), err)
		}
		if i > 0 && m.Images[i-1] >= image {
			return fmt.Errorf("images[%d]: the images are not sorted, each once", i)
		}
	}
	return nil
}

// check says what is wrong with an entry.
func (e Expected) check(config string) error {
	if !shapeForm.MatchString(e.Shape) {
		return fmt.Errorf("shape %.80q is not 1 to 64 of a-z, 0-9, dot and hyphen", e.Shape)
	}
	if e.CPUs < 1 || e.CPUs > 4096 || e.MemoryMiB < 1 || e.MemoryMiB > 1<<30 || e.GPUs < 0 || e.GPUs > 64 {
		return fmt.Errorf("%d CPUs, %d MiB, %d GPUs make no machine", e.CPUs, e.MemoryMiB, e.GPUs)
	}
	if e.Platform == attest.FormatSimulated {
		if e.VCPUType+e.CommandLine+e.Firmware+e.Kernel+e.Initrd != "" {
			return errors.New("a simulated platform boots no files")
		}
		return e.only("measurement")
	}
	if err := e.checkBoot(config); err != nil {
		return err
	}
	switch e.Platform {
	case attest.FormatSEVSNP:
		if err := checkText(e.VCPUType, 64); err != nil {
			return fmt.Errorf("vcpu_type: %w", err)
		}
		return e.only("measurement")
	case attest.FormatTDX:
		if e.VCPUType != "" {
			return errors.New("vcpu_type has no meaning for tdx")
		}
		return e.only("mr_td", "rtmr1", "rtmr2")
	}
	return fmt.Errorf("platform is %.40q, want sev-snp, tdx or simulated", e.Platform)
}

// checkBoot wants the command line to name the config: without it, the measurement
// says nothing of what the enclave runs.
func (e Expected) checkBoot(config string) error {
	if err := checkText(e.CommandLine, maxCommandLine); err != nil {
		return fmt.Errorf("command_line: %w", err)
	}
	if !strings.Contains(e.CommandLine, strings.TrimPrefix(config, "sha256:")) {
		return errors.New("command_line doesn't hold the config's digest: write {config} where it belongs")
	}
	for name, d := range map[string]string{"firmware": e.Firmware, "kernel": e.Kernel, "initrd": e.Initrd} {
		if !digestForm.MatchString(d) {
			return fmt.Errorf("%s %.80q is not sha256: and 64 lower-case hex digits", name, d)
		}
	}
	return nil
}

// only wants the named measurements and none of another platform.
func (e Expected) only(wanted ...string) error {
	for name, d := range map[string]*measure.Digest{
		"measurement": e.Measurement, "mr_td": e.MRTD, "rtmr1": e.RTMR1, "rtmr2": e.RTMR2,
	} {
		switch want := slices.Contains(wanted, name); {
		case want && (d == nil || *d == measure.Digest{}):
			return fmt.Errorf("%s is missing", name)
		case !want && d != nil:
			return fmt.Errorf("%s has no meaning for %s", name, e.Platform)
		}
	}
	if e.RTMR0 != nil && e.Platform != attest.FormatTDX {
		return fmt.Errorf("rtmr0 has no meaning for %s", e.Platform)
	}
	return nil
}

// checkText wants printable text of 1 to limit bytes.
func checkText(s string, limit int) error {
	if s == "" || len(s) > limit {
		return fmt.Errorf("has %d bytes, want 1 to %d", len(s), limit)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errors.New("has characters that can't be printed")
	}
	return nil
}
