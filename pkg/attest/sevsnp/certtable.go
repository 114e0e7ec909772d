package sevsnp

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// maxCertTable bounds the certificate table of an extended report in bytes.
const maxCertTable = 64 << 10

// certTableGUIDs are the kinds of entries (GHCB specification 56421, MSG_REPORT_REQ).
// Hosts write them in the order of their text, or with the first three groups
// little-endian; both are known, since nothing is trusted for standing here.
var certTableGUIDs = func() map[[16]byte]string {
	out := map[[16]byte]string{}
	for kind, g := range certTableTexts {
		out[g] = kind
		out[[16]byte{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}] = kind
	}
	return out
}()

// certTableTexts are the GUIDs in the order of their text.
var certTableTexts = func() map[string][16]byte {
	out := map[string][16]byte{}
	for kind, text := range map[string]string{
		"vcek": "63da758de6644564adc5f4b93be8accd", "vlek": "a8074bc2a25a483eaae639c045a0b8a1",
		"ask": "4ab7b379bbac4fe4a02f05aef327c782", "ark": "c0b406a4a803495297433fb6014cd0ae",
	} {
		raw, err := hex.DecodeString(text)
		if err != nil {
			panic("bad GUID constant " + text)
		}
		out[kind] = [16]byte(raw)
	}
	return out
}()

// CertTable holds the certificates that a host hands to its guests beside a report,
// as the guest finds them in configfs-tsm's auxblob. All are DER and unverified.
type CertTable struct{ VCEK, VLEK, ASK, ARK []byte }

// ParseCertTable reads a certificate table: entries of GUID, offset and length, up to
// an empty one, then the certificates. Entries of unknown kinds are passed over; an
// empty table is no error.
func ParseCertTable(b []byte) (*CertTable, error) {
	if len(b) > maxCertTable {
		return nil, fmt.Errorf("certificate table has %d bytes, want at most %d", len(b), maxCertTable)
	}
	t := new(CertTable)
	if len(b) == 0 {
		return t, nil
	}
	places := map[string]*[]byte{"vcek": &t.VCEK, "vlek": &t.VLEK, "ask": &t.ASK, "ark": &t.ARK}
	const entry = 24
	for at := 0; ; at += entry {
		if at+entry > len(b) {
			return nil, errors.New("certificate table has no end")
		}
		id := [16]byte(b[at:])
		off, size := uint64(binary.LittleEndian.Uint32(b[at+16:])), uint64(binary.LittleEndian.Uint32(b[at+20:]))
		if id == [16]byte{} && off == 0 && size == 0 {
			return t, nil
		}
		if off+size > uint64(len(b)) {
			return nil, fmt.Errorf("certificate table: %d bytes at %d lie outside its %d", size, off, len(b))
		}
		place := places[certTableGUIDs[id]]
		if place == nil {
			continue
		}
		if *place != nil {
			return nil, fmt.Errorf("certificate table has two entries for %s", certTableGUIDs[id])
		}
		*place = b[off : off+size : off+size]
	}
}

// Marshal writes the table in the form that ParseCertTable reads.
func (t *CertTable) Marshal() []byte {
	const entry = 24
	parts := []struct {
		kind string
		der  []byte
	}{{"vcek", t.VCEK}, {"vlek", t.VLEK}, {"ask", t.ASK}, {"ark", t.ARK}}
	head := make([]byte, entry*(len(parts)+1))
	var certificates []byte
	at := 0
	for _, p := range parts {
		if len(p.der) == 0 {
			continue
		}
		id := certTableTexts[p.kind]
		copy(head[at:], id[:])
		binary.LittleEndian.PutUint32(head[at+16:], uint32(len(head)+len(certificates)))
		binary.LittleEndian.PutUint32(head[at+20:], uint32(len(p.der)))
		certificates, at = append(certificates, p.der...), at+entry
	}
	return slices.Concat(head, certificates)
}

// Evidence puts a report and the table's certificates together, for the kind of key
// that the report says it was signed with. What is missing stays empty.
func (t *CertTable) Evidence(report []byte) Evidence {
	ev := Evidence{Report: report, VEK: t.VCEK}
	if len(report) > offSignerInfo && SignerInfo(report[offSignerInfo]).Kind() == VLEK {
		ev.VEK = t.VLEK
	}
	for _, der := range [][]byte{t.ASK, t.ARK} {
		if len(der) > 0 {
			ev.Chain = append(ev.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
	}
	return ev
}
