package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// Extensions in which a leaf certificate names the firmware it was made for
// (Trusted Computing Group, DICE Attestation Architecture 1.1, 6.1 and the older
// Implicit Identity, 7.2).
var (
	oidCompositeDeviceID = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}
	oidDiceTCBInfo       = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}
	oidSHA384            = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

type fwid struct {
	HashAlgorithm asn1.ObjectIdentifier
	Digest        []byte
}

// compositeDeviceID is what Hopper and LS10 have; the FWID's digest is its last
// 48 bytes.
type compositeDeviceID struct {
	Version  int
	DeviceID asn1.RawValue
	FWID     fwid
}

// diceTCBInfo is what Blackwell has. Its first FWID is that of the firmware.
type diceTCBInfo struct {
	Vendor     string         `asn1:"optional,implicit,tag:0,utf8"`
	Model      string         `asn1:"optional,implicit,tag:1,utf8"`
	Version    string         `asn1:"optional,implicit,tag:2,utf8"`
	SVN        int            `asn1:"optional,implicit,tag:3"`
	Layer      int            `asn1:"optional,implicit,tag:4"`
	Index      int            `asn1:"optional,implicit,tag:5"`
	FWIDs      []fwid         `asn1:"optional,implicit,tag:6"`
	Flags      asn1.BitString `asn1:"optional,implicit,tag:7"`
	VendorInfo []byte         `asn1:"optional,implicit,tag:8"`
	Type       []byte         `asn1:"optional,implicit,tag:9"`
}

// Operational flags of DiceTcbInfo, by bit, that mean a part is not in
// production state.
var debugFlags = map[int]string{1: "not secure", 2: "recovery", 3: "debug"}

// firmware is what a leaf certificate says of the firmware it vouches for.
type firmware struct {
	fwid []byte
	// debug names the debug flags that are set. flags is false where the
	// certificate has none at all.
	debug []string
	flags bool
}

// parseFirmware reads the extension; issuer is the certificate above the leaf,
// whose key a CompositeDeviceID has to repeat.
func parseFirmware(leaf, issuer *x509.Certificate, arch Architecture) (firmware, error) {
	want := oidCompositeDeviceID
	if arch == Blackwell {
		want = oidDiceTCBInfo
	}
	for _, ext := range leaf.Extensions {
		switch {
		case !ext.Id.Equal(want):
		case arch == Blackwell:
			return parseTCBInfo(ext.Value)
		default:
			return parseCompositeDeviceID(ext.Value, issuer)
		}
	}
	return firmware{}, fmt.Errorf("the leaf certificate has no FWID (extension %s)", want)
}

func parseCompositeDeviceID(der []byte, issuer *x509.Certificate) (firmware, error) {
	var id compositeDeviceID
	if rest, err := asn1.Unmarshal(der, &id); err != nil || len(rest) != 0 {
		return firmware{}, fmt.Errorf("the leaf's CompositeDeviceID does not parse: %w", orTrailing(err))
	}
	if !bytes.Equal(id.DeviceID.FullBytes, issuer.RawSubjectPublicKeyInfo) {
		return firmware{}, errors.New("the leaf's CompositeDeviceID names another device key than the issuer's")
	}
	f := firmware{fwid: id.FWID.Digest}
	return f, id.FWID.check()
}

func parseTCBInfo(der []byte) (firmware, error) {
	var info diceTCBInfo
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) != 0 {
		return firmware{}, fmt.Errorf("the leaf's DiceTcbInfo does not parse: %w", orTrailing(err))
	}
	if len(info.FWIDs) == 0 {
		return firmware{}, errors.New("the leaf's DiceTcbInfo has no FWID")
	}
	f := firmware{fwid: info.FWIDs[0].Digest, flags: info.Flags.BitLength > 0}
	for bit := range info.Flags.BitLength {
		if name, bad := debugFlags[bit]; bad && info.Flags.At(bit) == 1 {
			f.debug = append(f.debug, name)
		}
	}
	return f, info.FWIDs[0].check()
}

func (f fwid) check() error {
	if !f.HashAlgorithm.Equal(oidSHA384) || len(f.Digest) != measurementSize {
		return errors.New("the leaf's FWID is not a SHA-384")
	}
	return nil
}

func orTrailing(err error) error {
	if err == nil {
		return errors.New("bytes follow it")
	}
	return err
}
