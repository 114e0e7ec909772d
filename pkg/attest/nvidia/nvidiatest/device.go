package nvidiatest

import (
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// DeviceSpec says what device to make. Zero fields are filled with what a real
// device would have.
type DeviceSpec struct {
	Arch nvidia.Architecture
	// PDI is the device's identifier; it has to be set, and is its serial number.
	PDI nvidia.PDI
	// FWID is the firmware's digest, 48 bytes.
	FWID []byte
	// Flags are Blackwell's operational flags, 4 bytes.
	Flags []byte
	// EditDevice and EditLeaf change the templates of the two certificates.
	EditDevice, EditLeaf func(*x509.Certificate)
}

// Device is a GPU or a switch: a key that signs reports.
type Device struct {
	*Signer
	Spec DeviceSpec
}

var chips = map[nvidia.Architecture]string{nvidia.Hopper: "GH100", nvidia.Blackwell: "GB100", nvidia.LS10: "LS_10"}

// Device makes a device and its certificates.
func (p *PKI) Device(spec DeviceSpec) (*Device, error) {
	chip, ok := chips[spec.Arch]
	if !ok {
		return nil, fmt.Errorf("test device: architecture %q", spec.Arch)
	}
	if spec.FWID == nil {
		sum := sha512.Sum384([]byte("firmware of " + chip))
		spec.FWID = sum[:]
	}
	if spec.Flags == nil {
		spec.Flags = []byte{0x80, 0, 0, 1}
	}
	serial := append([]byte{0x41}, spec.PDI[:]...)
	template := CA(chip + " A01 GSP BROM")
	template.Subject.SerialNumber = fmt.Sprintf("%X", serial)
	template.SerialNumber = new(big.Int).SetBytes(serial)
	template.KeyUsage = x509.KeyUsageCertSign
	if spec.EditDevice != nil {
		spec.EditDevice(template)
	}
	device, err := p.Issue(template, p.provisioners[chip])
	if err != nil {
		return nil, err
	}
	template = Leaf(chip + " A01 GSP FMC LF")
	template.Subject.SerialNumber = hex.EncodeToString(spec.PDI[:])
	extension, err := firmwareExtension(spec, device)
	if err != nil {
		return nil, fmt.Errorf("test device: %w", err)
	}
	template.ExtraExtensions = []pkix.Extension{extension}
	if spec.EditLeaf != nil {
		spec.EditLeaf(template)
	}
	leaf, err := p.Issue(template, device)
	if err != nil {
		return nil, err
	}
	return &Device{Signer: leaf, Spec: spec}, nil
}

type fwid struct {
	Algorithm asn1.ObjectIdentifier
	Digest    []byte
}

// firmwareExtension makes a DiceTcbInfo for Blackwell and a CompositeDeviceID for
// the others.
func firmwareExtension(spec DeviceSpec, device *Signer) (pkix.Extension, error) {
	f := fwid{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, spec.FWID}
	if spec.Arch != nvidia.Blackwell {
		der, err := asn1.Marshal(struct {
			Version int
			Key     asn1.RawValue
			FWID    fwid
		}{1, asn1.RawValue{FullBytes: device.Cert.RawSubjectPublicKeyInfo}, f})
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}, Value: der}, err
	}
	der, err := asn1.Marshal(struct {
		Vendor string         `asn1:"implicit,tag:0,utf8"`
		FWIDs  []fwid         `asn1:"implicit,tag:6"`
		Flags  asn1.BitString `asn1:"implicit,tag:7"`
	}{"Casemate test", []fwid{f}, asn1.BitString{Bytes: spec.Flags, BitLength: 8 * len(spec.Flags)}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}, Value: der}, err
}

// Evidence makes a report and puts the chain beside it.
func (d *Device) Evidence(spec ReportSpec) (nvidia.Device, error) {
	report, err := d.Report(spec)
	if err != nil {
		return nvidia.Device{}, err
	}
	return nvidia.Device{Arch: d.Spec.Arch, Report: report, Chain: d.Chain()}, nil
}
