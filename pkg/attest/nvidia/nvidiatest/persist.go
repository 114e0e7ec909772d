package nvidiatest

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// storedDevice is a device with its own key and nobody else's.
type storedDevice struct {
	Arch  nvidia.Architecture `json:"arch"`
	PDI   nvidia.PDI          `json:"pdi"`
	FWID  []byte              `json:"fwid"`
	Key   []byte              `json:"key"`   // PKCS #8
	Chain [][]byte            `json:"chain"` // DER, leaf first
}

// Marshal writes a device so that a process of its own can sign reports.
func (d *Device) Marshal() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(d.Key)
	if err != nil {
		return nil, fmt.Errorf("write test device: %w", err)
	}
	out, err := json.Marshal(storedDevice{d.Spec.Arch, d.Spec.PDI, d.Spec.FWID, key, d.Chain()})
	if err != nil {
		return nil, fmt.Errorf("write test device: %w", err)
	}
	return out, nil
}

// ParseDevice reads what [Device.Marshal] wrote.
func ParseDevice(b []byte) (*Device, error) {
	var s storedDevice
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read test device: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("read test device: %w", err)
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok || len(s.Chain) == 0 || len(s.FWID) != 48 {
		return nil, errors.New("read test device: it has no ECDSA key, no chain or no firmware")
	}
	d := &Device{Spec: DeviceSpec{Arch: s.Arch, PDI: s.PDI, FWID: s.FWID}}
	for _, der := range slices.Backward(s.Chain) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read test device: %w", err)
		}
		d.Signer = &Signer{Cert: cert, Issuer: d.Signer}
	}
	d.Key = own
	return d, nil
}
