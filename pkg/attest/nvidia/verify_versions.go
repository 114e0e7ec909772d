package nvidia

import (
	"fmt"
	"slices"
	"strings"
)

// checkVersions compares driver, VBIOS and mode with the document and the policy.
func (r *run) checkVersions(d *device) {
	if !d.Arch.IsSwitch() {
		r.checkMode(d)
		r.checkDriver(d)
	}
	version, err := d.report.Opaque.VBIOSVersion(d.id.arch)
	if err == nil {
		r.claim(d, "vbios_version", version)
		err = r.vbiosVersion(version, d.Stated.VBIOSVersion)
	}
	r.report(d, "vbios_version", err, "%s", version)
}

func (r *run) checkDriver(d *device) {
	version, err := d.report.Opaque.DriverVersion()
	if err == nil {
		r.claim(d, "driver_version", version)
		err = r.driverVersion(version, d.Stated.DriverVersion)
	}
	r.report(d, "driver_version", err, "%s", version)
}

func (r *run) driverVersion(got, stated string) error {
	if stated != "" && stated != got {
		return fmt.Errorf("the report says %s, the document %.40q", got, stated)
	}
	p := r.policy
	if p.MinimumDriver == "" && (p.DriverVersions == nil || p.DriverVersions.isAny()) {
		return r.anyVersion("driver_versions", p.DriverVersions)
	}
	if p.DriverVersions != nil && !p.DriverVersions.isAny() {
		if err := inList(got, p.DriverVersions); err != nil {
			return err
		}
	}
	if p.MinimumDriver == "" {
		return nil
	}
	have, err := versionNumbers(got)
	if err != nil {
		return err
	}
	want, err := versionNumbers(p.MinimumDriver)
	if err != nil {
		return err
	}
	if slices.Compare(have, want) < 0 {
		return fmt.Errorf("%s is older than the policy's %s", got, p.MinimumDriver)
	}
	return nil
}

// anyVersion notes that no version was compared, which the policy has to say or to
// permit.
func (r *run) anyVersion(key string, said Versions) error {
	r.unpin(key)
	if said == nil && !r.policy.PermitUnpinned {
		return fmt.Errorf("the policy doesn't say which versions are wanted; name %s, or say %s", key, anyWord)
	}
	return nil
}

func (r *run) vbiosVersion(got, stated string) error {
	if stated != "" && stated != got {
		return fmt.Errorf("the report says %s, the document %.40q", got, stated)
	}
	if v := r.policy.VBIOSVersions; v == nil || v.isAny() {
		return r.anyVersion("vbios_versions", v)
	}
	for _, want := range r.policy.VBIOSVersions {
		if strings.EqualFold(got, want) {
			return nil
		}
	}
	return fmt.Errorf("%s is not among the policy's %v", got, r.policy.VBIOSVersions)
}

func (r *run) checkMode(d *device) {
	mode, err := d.report.Opaque.Mode()
	if err == nil {
		d.mode = mode
		r.claim(d, "mode", string(mode))
		err = r.modeAllowed(mode)
	}
	r.report(d, "mode", err, "%s", mode)
}

func (r *run) modeAllowed(mode Mode) error {
	switch p := r.policy.ProtectedPCIe; {
	case p == ProtectedPCIeRequired && mode != ModeProtectedPCIe:
		return fmt.Errorf("%s, but the policy requires protected PCIe", mode)
	case p == ProtectedPCIeForbidden && mode == ModeProtectedPCIe:
		return fmt.Errorf("%s, which the policy forbids", mode)
	}
	if r.policy.Modes == nil {
		r.unpin("modes")
		return nil
	}
	return inList(mode, r.policy.Modes)
}
