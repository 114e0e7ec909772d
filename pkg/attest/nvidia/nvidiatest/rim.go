package nvidiatest

import (
	"bytes"
	"crypto"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

const hashSHA384 = crypto.SHA384

// rawSignature turns an ASN.1 ECDSA signature on P-384 into r||s.
func rawSignature(der []byte) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	out := make([]byte, 96)
	rs.R.FillBytes(out[:48])
	rs.S.FillBytes(out[48:])
	return out, nil
}

// RIMSpec says what is in a RIM, and what is changed in it at which stage.
type RIMSpec struct {
	// Version is the driver's or VBIOS'.
	Version string
	// Product is the chip; "" means GH100. Edition is GPU or SWITCH; "" means GPU.
	Product, Edition string
	Golden           []nvidia.Golden
	// NotBefore and NotAfter bound the signer's certificate; zero is Epoch, Forever.
	NotBefore, NotAfter time.Time
	// Signer is who signs; nil makes one beneath the PKI's RIMIssuer.
	Signer *Signer
	// EditSigner changes the template of that one.
	EditSigner func(*x509.Certificate)
	// EditBody changes the document before it is signed, EditSignedInfo what is
	// signed, EditDocument the whole thereafter.
	EditBody, EditSignedInfo, EditDocument func(string) string
}

const (
	nsSWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	nsHash = "http://www.w3.org/2001/04/xmlenc#sha384"
	nsDSig = "http://www.w3.org/2000/09/xmldsig#"
)

// RIMSigner makes the certificate that a spec's RIM is signed with.
func (p *PKI) RIMSigner(spec RIMSpec) (*Signer, error) {
	if spec.Signer != nil {
		return spec.Signer, nil
	}
	template := Leaf("Test RIM signer")
	if !spec.NotBefore.IsZero() {
		template.NotBefore = spec.NotBefore
	}
	if !spec.NotAfter.IsZero() {
		template.NotAfter = spec.NotAfter
	}
	if spec.EditSigner != nil {
		spec.EditSigner(template)
	}
	return p.Issue(template, p.RIMIssuer)
}

// RIM makes a signed RIM in the form that NVIDIA's have.
func (p *PKI) RIM(spec RIMSpec) ([]byte, error) {
	signer, err := p.RIMSigner(spec)
	if err != nil {
		return nil, err
	}
	edit := func(f func(string) string, s string) string {
		if f == nil {
			return s
		}
		return f(s)
	}
	body := edit(spec.EditBody, rimBody(spec))
	sum, err := digestXML(body)
	if err != nil {
		return nil, fmt.Errorf("test RIM: %w", err)
	}
	info := edit(spec.EditSignedInfo, signedInfo(sum))
	// In canonical form SignedInfo carries the namespaces that surround it.
	canonical := strings.Replace(info, "<ds:SignedInfo>", `<ds:SignedInfo xmlns="`+nsSWID+`" xmlns:ds="`+nsDSig+`" xmlns:ns0="`+nsSWID+`" xmlns:ns2="`+nsHash+`">`, 1)
	hash := sha512.Sum384([]byte(canonical))
	value, err := signRaw(signer.Key, hash[:])
	if err != nil {
		return nil, fmt.Errorf("test RIM: %w", err)
	}
	doc := strings.Replace(body, "</SoftwareIdentity>", signature(info, value, signer.Chain())+"</SoftwareIdentity>", 1)
	return []byte(edit(spec.EditDocument, doc)), nil
}

func rimBody(spec RIMSpec) string {
	product, edition := spec.Product, spec.Edition
	if product == "" {
		product = "GH100"
	}
	if edition == "" {
		edition = "GPU"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<SoftwareIdentity xmlns="%s" xmlns:ns0="%s" xmlns:ns2="%s" name="%s" tagId="test" version="1.0" tagVersion="0">`+"\n", nsSWID, nsSWID, nsHash, product)
	b.WriteString(`    <ns0:Entity name="Casemate test" role="softwareCreator tagCreator"/>` + "\n")
	fmt.Fprintf(&b, `    <ns0:Meta colloquialVersion="%s" edition="%s" product="%s" revision="r1" PayloadType="direct"/>`+"\n", spec.Version, edition, product)
	b.WriteString("    <ns0:Payload>\n")
	for _, g := range spec.Golden {
		active := "False"
		if g.Active {
			active = "True"
		}
		fmt.Fprintf(&b, `        <ns0:Resource type="Measurement" index="%d" active="%s" alternatives="%d"`, g.Index, active, len(g.Values))
		for i, v := range g.Values {
			fmt.Fprintf(&b, ` ns2:Hash%d="%x"`, i, v)
		}
		fmt.Fprintf(&b, ` name="Measurement_%d" size="48"/>`+"\n", g.Index)
	}
	b.WriteString("    </ns0:Payload>\n</SoftwareIdentity>\n")
	return b.String()
}

func digestXML(body string) ([]byte, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromString(body); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	canonical, err := dsig.MakeC14N11Canonicalizer().Canonicalize(doc.Root())
	if err != nil {
		return nil, fmt.Errorf("canonicalize: %w", err)
	}
	sum := sha512.Sum384(canonical)
	return sum[:], nil
}

// signedInfo is in canonical form but for the namespaces of its surroundings.
func signedInfo(sum []byte) string {
	empty := func(tag, alg string) string { return `<ds:` + tag + ` Algorithm="` + alg + `"></ds:` + tag + `>` }
	return `<ds:SignedInfo>` +
		empty("CanonicalizationMethod", "http://www.w3.org/2006/12/xml-c14n11") +
		empty("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384") +
		`<ds:Reference URI=""><ds:Transforms>` +
		empty("Transform", nsDSig+"enveloped-signature") +
		empty("Transform", "http://www.w3.org/2006/12/xml-c14n11") +
		`</ds:Transforms>` + empty("DigestMethod", "http://www.w3.org/2001/04/xmldsig-more#sha384") +
		`<ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
}

func signature(info string, value []byte, chain [][]byte) string {
	var b strings.Builder
	b.WriteString(`<ds:Signature xmlns:ds="` + nsDSig + `">` + info)
	b.WriteString(`<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(value) + `</ds:SignatureValue><ds:KeyInfo><ds:X509Data>`)
	for _, der := range chain {
		lines := bytes.TrimPrefix(nvidia.ChainPEM([][]byte{der}), []byte("-----BEGIN CERTIFICATE-----\n"))
		b.WriteString(`<ds:X509Certificate>` + strings.TrimSuffix(string(lines), "-----END CERTIFICATE-----\n") + `</ds:X509Certificate>`)
	}
	b.WriteString(`</ds:X509Data></ds:KeyInfo></ds:Signature>`)
	return b.String()
}
