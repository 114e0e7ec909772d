package nvidia_test

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

var signatureText = regexp.MustCompile(`(?s)<ds:Signature .*</ds:Signature>`)

// driver edits the driver's RIM before it is made.
func driver(edit func(l *lab, s *nvidiatest.RIMSpec)) func(*lab) {
	return func(l *lab) { edit(l, l.rims[driverID]) }
}

// body, info and whole change the text of the driver's RIM before it is signed,
// what is signed of it, and the text thereafter.
func body(f func(string) string) func(*lab) {
	return driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.EditBody = f })
}

func info(f func(string) string) func(*lab) {
	return driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.EditSignedInfo = f })
}

func whole(f func(string) string) func(*lab) {
	return driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.EditDocument = f })
}

const (
	formatFails    = "gpu0_driver_rim_format"
	chainFails     = "gpu0_driver_rim_chain"
	signatureFails = "gpu0_driver_rim_signature"
)

func TestHostileRIMSignatures(t *testing.T) {
	run(t, hopper, []hostile{
		{"wrapping: the signed document inside an unsigned one", whole(func(s string) string {
			sig := signatureText.FindString(s)
			return strings.Replace(strings.Replace(s, sig, "", 1), "</SoftwareIdentity>", strings.Replace(s, sig, "", 1)+sig+"</SoftwareIdentity>", 1)
		}), formatFails},
		{"wrapping: a second payload beside the signed one", whole(func(s string) string {
			payload := s[strings.Index(s, "<ns0:Payload>") : strings.Index(s, "</ns0:Payload>")+len("</ns0:Payload>")]
			return strings.Replace(s, "<ns0:Payload>", payload+"<ns0:Payload>", 1)
		}), formatFails},
		{"wrapping: the payload moved into the signature", whole(func(s string) string {
			payload := s[strings.Index(s, "<ns0:Payload>") : strings.Index(s, "</ns0:Payload>")+len("</ns0:Payload>")]
			return strings.Replace(strings.Replace(s, payload, "", 1), "</ds:Signature>", "<ds:Object>"+payload+"</ds:Object></ds:Signature>", 1)
		}), formatFails},
		{"a reference to a part by its id", info(replace(`URI=""`, `URI="#payload"`)), formatFails},
		{"two signatures", whole(func(s string) string {
			sig := signatureText.FindString(s)
			return strings.Replace(s, sig, sig+sig, 1)
		}), formatFails},
		{"a signature inside the payload as well", body(replace("<ns0:Payload>", "<ns0:Payload><Signature/>")), formatFails},
		{"no signature", whole(func(s string) string { return signatureText.ReplaceAllString(s, "") }), formatFails},
		{"two references", info(func(s string) string {
			ref := s[strings.Index(s, "<ds:Reference") : strings.Index(s, "</ds:Reference>")+len("</ds:Reference>")]
			return strings.Replace(s, ref, ref+ref, 1)
		}), formatFails},
		{"another digest algorithm", info(replace("xmldsig-more#sha384", "xmldsig-more#sha224")), formatFails},
		{"another signature algorithm", info(replace("ecdsa-sha384", "ecdsa-sha256")), formatFails},
		{"HMAC with the key as secret", info(replace("ecdsa-sha384", "hmac-sha384")), formatFails},
		{"another canonicalization", info(replace(`CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"`, `CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"`)), formatFails},
		{"an XSLT transform", info(replace("2006/12/xml-c14n11\"></ds:Transform>", "TR/1999/REC-xslt-19991116\"></ds:Transform>")), formatFails},
		{"a third transform", info(replace("<ds:Transforms>", `<ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11"></ds:Transform>`)), formatFails},
		{"a digest of something else", info(func(s string) string {
			return regexp.MustCompile(`<ds:DigestValue>[^<]{4}`).ReplaceAllString(s, "<ds:DigestValue>AAAA")
		}), signatureFails},
		{"a body changed after the signature", whole(replace(`tagId="test"`, `tagId="tess"`)), signatureFails},
		{"a measurement changed after the signature", whole(replace(`ns2:Hash0="`, `ns2:Hash0="00`+"\" name0=\"")), formatFails},
		{"an index switched off after the signature", whole(replace(`active="True"`, `active="False"`)), signatureFails},
		{"a signature by another key", driver(func(l *lab, s *nvidiatest.RIMSpec) {
			real := must2(l.pki.RIMSigner(*s))(l)
			s.Signer = &nvidiatest.Signer{Cert: real.Cert, Key: must2(l.pki.Key("thief"))(l), Issuer: real.Issuer}
		}), signatureFails},
	})
}

func TestHostileRIMChains(t *testing.T) {
	run(t, hopper, []hostile{
		{"a root that nobody trusts", driver(func(l *lab, s *nvidiatest.RIMSpec) {
			s.Signer = must2(foreignPKI(l).RIMSigner(nvidiatest.RIMSpec{}))(l)
		}), chainFails},
		{"a test root that the policy does not name", func(l *lab) { l.policy.RIMRoots = nil }, "gpu0_driver_rim_root gpu0_vbios_rim_root"},
		{"a device's root and key", driver(func(l *lab, s *nvidiatest.RIMSpec) {
			s.Signer = must2(l.pki.Device(l.devices[0].device))(l).Signer
		}), chainFails},
		{"an OCSP responder as the signer", driver(func(_ *lab, s *nvidiatest.RIMSpec) {
			s.EditSigner = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
		}), chainFails},
		{"a signer right beneath the root", driver(func(l *lab, s *nvidiatest.RIMSpec) {
			s.Signer = must2(l.pki.Issue(nvidiatest.Leaf("Test short chain"), l.pki.RIMRoot))(l)
		}), chainFails},
		{"a signer that has expired", driver(func(l *lab, s *nvidiatest.RIMSpec) { s.NotAfter = l.at.Add(-time.Hour) }), "gpu0_driver_rim_time"},
		{"a signer that is not valid yet", driver(func(l *lab, s *nvidiatest.RIMSpec) { s.NotBefore = l.at.Add(time.Hour) }), "gpu0_driver_rim_time"},
		{"certificates in lines of another length", whole(func(s string) string {
			at := strings.Index(s, "<ds:X509Certificate>") + len("<ds:X509Certificate>")
			return s[:at] + strings.Replace(s[at:], "\n", "", 1)
		}), formatFails},
	})
}

func TestHostileRIMContents(t *testing.T) {
	run(t, hopper, []hostile{
		{"a document type with an entity", whole(func(s string) string { return `<!DOCTYPE x [<!ENTITY a "b">]>` + s }), formatFails},
		{"a document type in the middle", whole(replace("<ns0:Payload>", `<!DOCTYPE x><ns0:Payload>`)), formatFails},
		{"a character reference", body(replace(`tagId="test"`, `tagId="&#116;est"`)), formatFails},
		{"a comment that splits a text", whole(replace("<ds:DigestValue>", "<ds:DigestValue><!-- -->")), formatFails},
		{"a processing instruction", whole(func(s string) string { return "<?xml-stylesheet href='x'?>" + s }), formatFails},
		{"CDATA", whole(replace("<ns0:Payload>", "<ns0:Payload><![CDATA[ ]]>")), formatFails},
		{"an attribute twice", whole(replace(`tagId="test"`, `tagId="test" tagId="test"`)), formatFails},
		{"more attributes than an element may have", whole(func(s string) string {
			var more strings.Builder
			for i := range 100 {
				fmt.Fprintf(&more, ` x%d=""`, i)
			}
			return strings.Replace(s, ` tagId="test"`, more.String()+` tagId="test"`, 1)
		}), formatFails},
		{"an xml: attribute", body(replace(`tagId="test"`, `tagId="test" xml:base="http://x/"`)), formatFails},
		{"elements nested deeply", whole(replace("<ns0:Payload>", strings.Repeat("<a>", 50)+strings.Repeat("</a>", 50)+"<ns0:Payload>")), formatFails},
		{"text after the document", whole(func(s string) string { return s + "x" }), formatFails},
		{"a demand of an unknown kind", body(replace(`type="Measurement"`, `type="MinimumSVN"`)), formatFails},
		{"an unknown element", body(replace("<ns0:Payload>", "<ns0:Link/><ns0:Payload>")), formatFails},
		{"an index twice in one RIM", driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.Golden = append(s.Golden, s.Golden[0]) }), formatFails},
		{"an index in both RIMs", driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.Golden = append(golden(1), s.Golden[:3]...) }), "gpu0_measurement_overlap"},
		{"more alternatives than hashes", body(replace(`alternatives="2"`, `alternatives="3"`)), formatFails},
		{"fewer alternatives than hashes", body(replace(`alternatives="2"`, `alternatives="1"`)), formatFails},
		{"hashes in another namespace", body(replace(`ns2:Hash0`, `ns0:Hash0`)), formatFails},
		{"a measurement that the report does not have", driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.Golden = golden(70) }), "gpu0_measurements"},
		{"no active measurement in either RIM", func(l *lab) {
			for _, s := range l.rims {
				s.Golden = []nvidia.Golden{{Index: 1, Values: [][]byte{measured(1)}}}
			}
		}, "gpu0_measurements"},
		{"a RIM of another driver", driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.Version = "550.90.06" }), "gpu0_driver_rim_version"},
		{"a RIM of another chip", driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.Product = "GB100" }), "gpu0_driver_rim_product"},
		{"a RIM of a switch", driver(func(_ *lab, s *nvidiatest.RIMSpec) { s.Edition = "SWITCH" }), "gpu0_driver_rim_product"},
		{"no driver RIM", func(l *lab) { l.drop[driverID] = true }, "gpu0_driver_rim_found"},
		{"no VBIOS RIM", func(l *lab) { l.drop[vbiosID] = true }, "gpu0_vbios_rim_found"},
		{"the VBIOS RIM in place of the driver's", func(l *lab) { *l.rims[driverID] = *l.rims[vbiosID] }, "gpu0_driver_rim_version gpu0_measurement_overlap"},
	})
}
