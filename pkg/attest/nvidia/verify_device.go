package nvidia

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// checkDevices makes the checks of each device by itself, in the evidence's order.
func (r *run) checkDevices() {
	names := r.evidence.names()
	for i := range r.evidence.Devices {
		d := &device{Device: &r.evidence.Devices[i], name: names[i]}
		if !r.checkIdentity(d) {
			continue
		}
		r.devices = append(r.devices, d)
		r.checkReport(d)
		r.checkVersions(d)
		r.checkDeviceOCSP(d)
		r.checkRIMs(d)
	}
}

func (r *run) report(d *device, name string, err error, passed string, args ...any) bool {
	return r.verdict.Report(d.name+name, err, passed, args...)
}

func (r *run) claim(d *device, name string, value any) { r.verdict.Claims[d.name+name] = value }

// checkIdentity establishes which device speaks: report, chain, root and time. If
// it fails there is nothing more to say of the device.
func (r *run) checkIdentity(d *device) bool {
	var err error
	d.report, err = ParseReport(d.Report)
	ok := r.report(d, "report_format", err, "SPDM 1.1, %d bytes", len(d.Report))
	d.id, err = r.deviceChain(d.Chain, r.at)
	if !r.report(d, "certificate_chain", err, "%d certificates, all signatures verify", len(d.Chain)) || !ok {
		return false
	}
	ok = r.checkRoot(d.name+"certificate_root", d.id.root, nvidiaDeviceAnchor, r.policy.DeviceRoots, "device_roots")
	return r.report(d, "certificate_time", checkTime(d.id.valid, r.at), "valid until %s", date(d.id.valid.to)) && ok
}

// deviceChain verifies a chain, or takes the result from the cache.
func (v *Verifier) deviceChain(chain [][]byte, at time.Time) (*identity, error) {
	key, err := chainDigest(chain)
	if err != nil {
		return nil, err
	}
	if id, ok := v.chains.get(key, at); ok {
		return id, nil
	}
	certs, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	id, err := verifyDeviceChain(certs, v.deviceRoots)
	if err != nil {
		return nil, err
	}
	v.chains.put(key, id, id.valid.to)
	return id, nil
}

// checkRoot accepts NVIDIA's root, and others only if the policy names them.
func (r *run) checkRoot(name string, got, nvidia digest, named []string, key string) bool {
	text := hex.EncodeToString(got[:])
	switch {
	case got == nvidia:
		r.verdict.Pass(name, "NVIDIA's root")
		return true
	case slices.Contains(named, text):
		r.verdict.Pass(name, "root %s is not NVIDIA's; the policy names it in %s", text, key)
		r.insecure("foreign_root")
		return true
	}
	r.verdict.Fail(name, "root %s is neither NVIDIA's nor named in the policy's %s", text, key)
	return false
}

func (r *run) insecure(why string) {
	if !slices.Contains(r.verdict.Insecure, why) {
		r.verdict.Insecure = append(r.verdict.Insecure, why)
	}
}

func checkTime(w window, at time.Time) error {
	if !w.holds(at) {
		return fmt.Errorf("certificates are valid from %s to %s, not at %s", date(w.from), date(w.to), date(at))
	}
	return nil
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkReport checks that the device made this report, now, and for us.
func (r *run) checkReport(d *device) {
	r.report(d, "architecture", r.architecture(d), "%s (%s)", d.id.arch, d.id.chip)
	r.report(d, "report_signature", d.report.verify(d.id.key), "ECDSA P-384 by the leaf certificate's key")
	r.report(d, "fwid", checkFWID(d), "firmware of report and certificate agree")
	r.report(d, "nonce", r.checkNonce(d), "%x", d.report.Nonce)
	if d.Arch.IsSwitch() {
		r.report(d, "device_pdi", checkPDI(d), "%s, as in the device certificate", d.id.pdi)
	}
	r.checkDebug(d)
	r.claim(d, "architecture", string(d.id.arch))
	r.claim(d, "chip", d.id.chip)
	r.claim(d, "device_serial", d.id.serial)
	r.claim(d, "ueid", d.id.certs[0].SerialNumber.Text(16))
	r.claim(d, "nonce", hex.EncodeToString(d.report.Nonce))
	r.claim(d, "fwid", hex.EncodeToString(d.id.firmware.fwid))
	if d.id.hasPDI {
		r.claim(d, "pdi", d.id.pdi.String())
	}
}

func (r *run) architecture(d *device) error {
	if d.Arch != d.id.arch {
		return fmt.Errorf("the evidence says %s, the device certificate is for %s (%s)", d.Arch, d.id.arch, d.id.chip)
	}
	if r.policy.Architectures == nil {
		r.unpin("architectures")
		return nil
	}
	return inList(d.Arch, r.policy.Architectures)
}

// inList says which values would have been accepted.
func inList[T ~string](got T, want []T) error {
	if slices.Contains(want, got) {
		return nil
	}
	return fmt.Errorf("%s is not among the policy's %v", got, want)
}

// checkFWID compares the firmware digests. LS10 reports name none; their
// certificate's is checked to be there.
func checkFWID(d *device) error {
	got, err := d.report.Opaque.FWID()
	switch {
	case err != nil:
		return err
	case got == nil && d.Arch.IsSwitch():
		return nil
	case got == nil:
		return errors.New("the report names no firmware (field 20)")
	case !bytes.Equal(got, d.id.firmware.fwid):
		return fmt.Errorf("the report is of firmware %x, the certificate for %x", got, d.id.firmware.fwid)
	}
	return nil
}

func (r *run) checkNonce(d *device) error {
	got := d.report.Nonce
	if s := d.Stated.Nonce; s != nil && !bytes.Equal(got, s) {
		return fmt.Errorf("the report is over %x, the document says %x", got, s)
	}
	if r.nonce != nil && !bytes.Equal(got, r.nonce) {
		return fmt.Errorf("the report is over %x, not over the caller's %x: it may be a replay", got, r.nonce)
	}
	return nil
}

func checkPDI(d *device) error {
	own, err := d.report.Opaque.OwnPDI()
	if err != nil {
		return err
	}
	if !d.id.hasPDI || own != d.id.pdi {
		return fmt.Errorf("the report says %s, the device certificate's serial number is %s", own, d.id.serial)
	}
	return nil
}

// checkDebug looks at the production state. Only Blackwell's certificates state
// it. On the others it shows in the measurements alone.
func (r *run) checkDebug(d *device) {
	fw := d.id.firmware
	switch {
	case len(fw.debug) != 0 && r.policy.AllowDebug:
		r.insecure("debug")
		r.report(d, "debug_off", nil, "the certificate says %s; the policy allows debug", strings.Join(fw.debug, ", "))
	case len(fw.debug) != 0:
		r.report(d, "debug_off", fmt.Errorf("the certificate says %s; allow_debug is off", strings.Join(fw.debug, ", ")), "")
	case fw.flags:
		r.report(d, "debug_off", nil, "the certificate says so")
	case r.comparesRIMs():
		r.report(d, "debug_off", nil, "stated nowhere; shown by the measurements")
	default:
		r.unpin("debug")
		r.report(d, "debug_off", nil, "stated nowhere, and no measurements were compared")
	}
}
