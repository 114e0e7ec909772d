package nvidia

import (
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
)

// The two anchors of NVIDIA's attestation, by certificate.
//
//   - roots/device_identity_ca.pem ends every device chain:
//     "NVIDIA Device Identity CA", valid 2021-11-05 to 9999-12-31.
//   - roots/corim_signing_root_ca.pem ends every RIM chain:
//     "NVIDIA CoRIM signing Root CA", valid 2023-03-16 to 2053-03-08.
var (
	//go:embed roots/device_identity_ca.pem
	deviceRootPEM []byte
	//go:embed roots/corim_signing_root_ca.pem
	rimRootPEM []byte

	nvidiaDeviceRoot = mustRoot(deviceRootPEM)
	nvidiaRIMRoot    = mustRoot(rimRootPEM)

	nvidiaDeviceAnchor = digestOf(nvidiaDeviceRoot.Raw)
	nvidiaRIMAnchor    = digestOf(nvidiaRIMRoot.Raw)
)

// DeviceRoot returns NVIDIA's root of device certificates.
func DeviceRoot() *x509.Certificate { return nvidiaDeviceRoot }

// RIMRoot returns NVIDIA's root of RIM signing certificates.
func RIMRoot() *x509.Certificate { return nvidiaRIMRoot }

// mustRoot parses an embedded certificate; the build is broken if it can't.
func mustRoot(text []byte) *x509.Certificate {
	block, _ := pem.Decode(text)
	if block == nil {
		panic("nvidia: embedded root certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic("nvidia: embedded root certificate: " + err.Error())
	}
	return cert
}

// digest is a SHA-256, used to name certificates, documents and cache entries.
type digest [sha256.Size]byte

func digestOf(b []byte) digest { return sha256.Sum256(b) }
