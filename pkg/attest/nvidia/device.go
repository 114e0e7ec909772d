package nvidia

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// deviceChainLength: firmware (leaf), device, provisioner, product, root.
const deviceChainLength = 5

// identity is what a verified device chain says. It does not change while the
// chain is valid, and is kept in the verifier's cache.
type identity struct {
	key      *ecdsa.PublicKey
	certs    []*x509.Certificate
	issuers  []issuer // of all of certs but the root
	root     digest
	arch     Architecture
	chip     string
	serial   string // of the device certificate's subject, hex
	pdi      PDI
	hasPDI   bool
	firmware firmware
	valid    window
}

// verifyDeviceChain checks the chain and reads the device's identity out of it.
func verifyDeviceChain(certs, roots []*x509.Certificate) (*identity, error) {
	if err := verifyChain(certs, deviceChainLength, roots); err != nil {
		return nil, err
	}
	key, err := p384(certs[0])
	if err != nil {
		return nil, fmt.Errorf("leaf certificate: %w", err)
	}
	issuers, err := issuersOf(certs)
	if err != nil {
		return nil, err
	}
	root := issuers[len(issuers)-1].digest
	id := &identity{key: key, certs: certs, issuers: issuers, root: root, valid: validity(certs)}
	if err := id.readSubject(certs[0], certs[1]); err != nil {
		return nil, err
	}
	if id.firmware, err = parseFirmware(certs[0], certs[1], id.arch); err != nil {
		return nil, err
	}
	return id, nil
}

// readSubject reads chip and serial number of the device certificate. Its subject
// is "<chip> <stepping> <engine> BROM", its serial number a prefix and the PDI.
func (id *identity) readSubject(leaf, device *x509.Certificate) error {
	var err error
	id.chip, _, _ = strings.Cut(device.Subject.CommonName, " ")
	if id.arch, err = chipArchitecture(id.chip); err != nil {
		return err
	}
	if chip, _, _ := strings.Cut(leaf.Subject.CommonName, " "); chip != id.chip {
		return fmt.Errorf("the leaf is for a chip %.16q, its device certificate for %s", chip, id.chip)
	}
	id.serial = strings.ToLower(device.Subject.SerialNumber)
	raw, err := hex.DecodeString(id.serial)
	if err != nil || len(raw) == 0 || len(raw) > 32 {
		return fmt.Errorf("the device certificate's serial number %.80q is not hex", device.Subject.SerialNumber)
	}
	if len(raw) == pdiSize+1 {
		id.pdi, id.hasPDI = PDI(raw[1:]), true
	}
	return nil
}
