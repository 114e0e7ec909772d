package nvidia

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// readSDK reads the attestation SDK's array of devices.
func (e *Evidence) readSDK(v value) error {
	for i, item := range v.items {
		d, err := readSDKDevice(&item)
		if err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
		e.Devices = append(e.Devices, d)
	}
	return nil
}

// sdkVersion is what the SDK writes as the version of an entry's form, in GPUs' only.
const sdkVersion = "1.0"

func readSDKDevice(v *value) (Device, error) {
	var d Device
	f := fields{v: v}
	arch := f.str("arch")
	chain := f.base64("certificate")
	d.Report = f.base64("evidence")
	nonce, hasNonce := f.optional("nonce")
	if version, ok := f.optional("version"); ok && version != sdkVersion {
		f.fail(fmt.Errorf("version is %.40q, want %q", version, sdkVersion))
	}
	d.Stated.VBIOSVersion = f.optionalText("vbios_version")
	d.Stated.DriverVersion = f.optionalText("driver_version")
	if err := f.done(); err != nil {
		return d, err
	}
	var err error
	if d.Arch, err = ParseArchitecture(arch); err != nil {
		return d, err
	}
	if d.Arch.IsSwitch() && d.Stated.DriverVersion != "" {
		return d, errors.New("a switch has no driver_version")
	}
	if d.Chain, err = ParseChainPEM(chain); err != nil {
		return d, err
	}
	if hasNonce {
		d.Stated.Nonce, err = ParseNonce(nonce)
	}
	return d, err
}

// ParseNonce reads a nonce of 32 bytes in lower-case hex.
func ParseNonce(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != nonceSize || strings.ToLower(s) != s {
		return nil, fmt.Errorf("nonce %.80q is not %d lower-case hex digits", s, 2*nonceSize)
	}
	return b, nil
}

// readSystem reads an object of gpus and, in protected PCIe mode, nvswitches.
func (e *Evidence) readSystem(v value) error {
	f := fields{v: &v}
	gpus, switches := f.array("gpus"), f.optionalArray("nvswitches")
	if err := f.done(); err != nil {
		return err
	}
	e.System = true
	for i := range gpus {
		d, err := readSystemGPU(&gpus[i], i)
		if err != nil {
			return fmt.Errorf("gpu %d: %w", i, err)
		}
		e.Devices = append(e.Devices, d)
	}
	for i := range switches {
		d, err := readSystemSwitch(&switches[i])
		if err != nil {
			return fmt.Errorf("nvswitch %d: %w", i, err)
		}
		e.Devices = append(e.Devices, d)
	}
	return nil
}

func readSystemGPU(v *value, position int) (Device, error) {
	var d Device
	f := fields{v: v}
	f.class("verifier.nvml.NvmlHandler")
	uuid := f.str("UUID")
	d.Stated = Stated{DriverVersion: f.str("DriverVersion"), VBIOSVersion: f.str("VbiosVersion")}
	d.Arch = f.arch()
	d.Report = f.pickled("AttestationReport")
	certs := f.chains()
	if index, ok := f.optionalNumber("Index"); ok && index != position {
		f.fail(fmt.Errorf("Index is %d at position %d", index, position))
	}
	f.optionalNumber("BoardId")
	if err := f.done(); err != nil {
		return d, err
	}
	if err := checkUUID(uuid, "GPU-"); err != nil {
		return d, err
	}
	if d.Stated.DriverVersion == "" || d.Stated.VBIOSVersion == "" {
		return d, errors.New("DriverVersion and VbiosVersion may not be empty")
	}
	var err error
	d.Chain, err = readPEMs(certs)
	return d, err
}

func readSystemSwitch(v *value) (Device, error) {
	d := Device{Arch: LS10}
	f := fields{v: v}
	f.class("nv_attestation_sdk.verifiers.nv_switch_verifier.models.nvswitch.NVSwitch")
	uuid := f.str("uuid")
	certs := f.array("attestation_cert_chain")
	d.Report = f.pickled("attestation_report")
	if err := f.done(); err != nil {
		return d, err
	}
	if err := checkUUID(uuid, "SWX-"); err != nil {
		return d, err
	}
	var err error
	d.Chain, err = readPEMs(certs)
	return d, err
}

// readPEMs reads a list of {pem: base64 of PEM}, of one certificate or several each.
func readPEMs(list []value) ([][]byte, error) {
	var chain [][]byte
	for i := range list {
		f := fields{v: &list[i]}
		f.class("OpenSSL.crypto.X509")
		text := f.base64("pem")
		if err := f.done(); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
		part, err := ParseChainPEM(text)
		if err != nil {
			return nil, err
		}
		if chain = append(chain, part...); len(chain) > maxChainLength {
			return nil, fmt.Errorf("chain has more than %d certificates", maxChainLength)
		}
	}
	return chain, nil
}

// checkUUID checks the form only: reports don't hold it.
func checkUUID(s, prefix string) error {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	rest, ok := strings.CutPrefix(s, prefix)
	ok = ok && len(rest) == len(form)
	for i := 0; ok && i < len(form); i++ {
		ok = rest[i] == '-' && form[i] == '-' || form[i] == 'x' && strings.IndexByte("0123456789abcdefABCDEF", rest[i]) >= 0
	}
	if !ok {
		return fmt.Errorf("uuid %.80q is not %s and a UUID", s, prefix)
	}
	return nil
}
