package nvidia_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

func TestHonestLabsAreAcceptedWithNothingLeftOpen(t *testing.T) {
	for name, l := range map[string]*lab{
		"one Hopper":        newLab(t),
		"protected PCIe":    newLab(t).protected(),
		"several Blackwell": newLab(t).blackwell(),
	} {
		t.Run(name, func(t *testing.T) {
			verdict := l.verify()
			if err := verdict.Err(); err != nil {
				t.Fatal(err)
			}
			if len(verdict.NotPinned) != 0 {
				t.Errorf("left open: %v", verdict.NotPinned)
			}
			if !slices.Equal(verdict.Insecure, []string{"foreign_root"}) {
				t.Errorf("insecure: %v, want foreign_root alone", verdict.Insecure)
			}
		})
	}
}

// replaceField gives one opaque field another value.
func replaceField(id nvidia.FieldID, value []byte) func([]nvidia.Field) []nvidia.Field {
	return func(fields []nvidia.Field) []nvidia.Field {
		for i := range fields {
			if fields[i].ID == id {
				fields[i].Value = value
			}
		}
		return fields
	}
}

func dropField(id nvidia.FieldID) func([]nvidia.Field) []nvidia.Field {
	return func(fields []nvidia.Field) []nvidia.Field {
		return slices.DeleteFunc(fields, func(f nvidia.Field) bool { return f.ID == id })
	}
}

func replace(old, with string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("the text has no " + old)
		}
		return strings.Replace(s, old, with, 1)
	}
}

// status lets the responder of a subject say something else.
func status(subject string, status, reason int) func(string, *nvidiatest.OCSPSpec) {
	return func(got string, spec *nvidiatest.OCSPSpec) {
		if got == subject {
			spec.Status, spec.Reason = status, reason
		}
	}
}

func foreignPKI(l *lab) *nvidiatest.PKI {
	return must2(nvidiatest.New([]byte("somebody else's roots")))(l)
}

type hostile struct {
	rule   string
	change func(*lab)
	failed string
}

const (
	brom        = "GH100 A01 GSP BROM"
	provisioner = "Test GH100 Provisioner ICA"
	rimIssuer   = "Test Reference Value L3"
)

func run(t *testing.T, base func(*lab) *lab, cases []hostile) {
	for _, tc := range cases {
		t.Run(tc.rule, func(t *testing.T) {
			l := base(newLab(t))
			tc.change(l)
			verdict := l.verify()
			if verdict.Accepted {
				t.Fatal("accepted")
			}
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q\n%v", got, tc.failed, verdict.Err())
			}
		})
	}
}

func hopper(l *lab) *lab { return l }

func TestHostileReports(t *testing.T) {
	run(t, hopper, []hostile{
		{"a replayed report is over another nonce", func(l *lab) { l.devices[0].report.Nonce = measured(8)[:32] }, "gpu0_nonce"},
		{"a report signed by another GPU's key", func(l *lab) {
			other := must2(l.pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: pdi(9)}))(l)
			l.editEvidence = func(e *nvidia.Evidence) {
				e.Devices[0].Report = must2(other.Report(l.devices[0].report))(l)
			}
		}, "gpu0_report_signature"},
		{"a measurement changed after the signature", func(l *lab) {
			l.devices[0].report.EditReport = func(b []byte) []byte { b[45+7] ^= 1; return b }
		}, "gpu0_report_signature gpu0_measurements"},
		{"a measurement that the RIM does not allow", func(l *lab) { l.devices[0].report.Measurements[21] = measured(5) }, "gpu0_measurements"},
		{"bytes after the signature", func(l *lab) {
			l.devices[0].report.EditReport = func(b []byte) []byte { return append(b, 0) }
		}, "gpu0_report_format"},
		{"a request for some measurements only", func(l *lab) {
			l.devices[0].report.EditSigned = func(b []byte) []byte { b[3] = 1; return b }
		}, "gpu0_report_format"},
		{"a block that claims to be another", func(l *lab) {
			l.devices[0].report.EditSigned = func(b []byte) []byte { b[45] = 2; return b }
		}, "gpu0_report_format"},
		{"a measurement of 47 bytes", func(l *lab) { l.devices[0].report.Measurements[3] = make([]byte, 47) }, "gpu0_report_format"},
		{"an opaque field twice", func(l *lab) {
			l.devices[0].report.EditFields = func(f []nvidia.Field) []nvidia.Field { return append(f, f[0]) }
		}, "gpu0_report_format"},
		{"firmware that the certificate does not vouch for", func(l *lab) {
			l.devices[0].report.EditFields = replaceField(nvidia.FieldFWID, measured(1))
		}, "gpu0_fwid"},
		{"no firmware named", func(l *lab) { l.devices[0].report.EditFields = dropField(nvidia.FieldFWID) }, "gpu0_fwid"},
		{"NVDEC0 neither on nor off, which would skip index 35", func(l *lab) {
			l.devices[0].report.EditFields = replaceField(nvidia.FieldNVDEC0, []byte{0x54})
		}, "gpu0_measurements"},
		{"index 35 differs with NVDEC0 on", func(l *lab) { l.devices[0].report.Measurements[35] = measured(5) }, "gpu0_measurements"},
		{"an older driver than the policy's", func(l *lab) { l.policy.DriverVersions, l.policy.MinimumDriver = nil, "550.90.08" }, "gpu0_driver_version"},
		{"a driver that is not listed", func(l *lab) { l.policy.DriverVersions = []string{"550.90.08"} }, "gpu0_driver_version"},
		{"a driver version that would reach into a path", func(l *lab) { l.devices[0].report.Driver = "../550" }, "gpu0_driver_version gpu0_driver_rim_found"},
		{"a VBIOS that is not listed", func(l *lab) { l.policy.VBIOSVersions = []string{"96.00.9F.00.02"} }, "gpu0_vbios_version"},
		{"a VBIOS version in eight bytes", func(l *lab) {
			l.devices[0].report.EditFields = replaceField(nvidia.FieldVBIOSVersion, []byte{0, 0x9f, 0, 0x96, 1, 0, 0, 1})
		}, "gpu0_vbios_version gpu0_vbios_rim_found"},
		{"protected PCIe where the policy wants one GPU", func(l *lab) {
			l.devices[0].report.Mode = nvidia.ModeProtectedPCIe
			l.policy.ProtectedPCIe = nvidia.ProtectedPCIeForbidden
		}, "gpu0_mode topology_switches topology_gpus"},
		{"a feature flag that contradicts the PCIe field", func(l *lab) {
			l.devices[0].report.EditFields = replaceField(nvidia.FieldFeatureFlag, []byte{2, 0})
		}, "gpu0_mode"},
		{"an architecture that the policy does not list", func(l *lab) { l.policy.Architectures = []nvidia.Architecture{nvidia.Blackwell} }, "gpu0_architecture"},
		{"a document that names another architecture", func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[0].Arch = nvidia.Blackwell }
		}, "gpu0_architecture"},
		{"a document that names another driver", func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[0].Stated.DriverVersion = "550.90.08" }
		}, "gpu0_driver_version"},
		{"a document that names another VBIOS", func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[0].Stated.VBIOSVersion = "96.00.9F.00.02" }
		}, "gpu0_vbios_version"},
		{"a document that names another nonce", func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[0].Stated.Nonce = measured(8)[:32] }
		}, "gpu0_nonce"},
		{"a nonce of 31 bytes from the caller", func(l *lab) { l.nonce = l.nonce[:31]; l.devices[0].report.Nonce = measured(7)[:32] }, "nonce_given"},
		{"fewer GPUs than the policy wants", func(l *lab) { l.count(8, 0) }, "gpu_count"},
	})
}

func TestHostileChains(t *testing.T) {
	chain := func(edit func(l *lab, c [][]byte) [][]byte) func(*lab) {
		return func(l *lab) {
			l.editEvidence = func(e *nvidia.Evidence) { e.Devices[0].Chain = edit(l, slices.Clone(e.Devices[0].Chain)) }
		}
	}
	other := func(l *lab) [][]byte {
		return must2(l.pki.Device(nvidiatest.DeviceSpec{Arch: nvidia.Hopper, PDI: pdi(9)}))(l).Chain()
	}
	run(t, hopper, []hostile{
		{"a root that nobody trusts", chain(func(l *lab, _ [][]byte) [][]byte {
			return must2(foreignPKI(l).Device(l.devices[0].device))(l).Chain()
		}), "gpu0_certificate_chain"},
		{"a test root that the policy does not name", func(l *lab) { l.policy.DeviceRoots = nil }, "gpu0_certificate_root"},
		{"the leaf of another GPU", chain(func(l *lab, c [][]byte) [][]byte { c[0] = other(l)[0]; return c }), "gpu0_certificate_chain"},
		{"the chain of another GPU", chain(func(l *lab, _ [][]byte) [][]byte { return other(l) }), "gpu0_report_signature gpu0_device_ocsp_response"},
		{"no root at the end", chain(func(_ *lab, c [][]byte) [][]byte { return c[:4] }), "gpu0_certificate_chain"},
		{"a certificate too many", chain(func(_ *lab, c [][]byte) [][]byte { return append(c, c[4]) }), "gpu0_certificate_chain"},
		{"certificates in another order", chain(func(_ *lab, c [][]byte) [][]byte { c[2], c[3] = c[3], c[2]; return c }), "gpu0_certificate_chain"},
		{"two certificates run together", chain(func(_ *lab, c [][]byte) [][]byte {
			return append([][]byte{append(bytes.Clone(c[0]), c[1]...)}, c[2:]...)
		}), "gpu0_certificate_chain"},
		{"bytes after a certificate", chain(func(_ *lab, c [][]byte) [][]byte { c[1] = append(bytes.Clone(c[1]), 0); return c }), "gpu0_certificate_chain"},
		{"a leaf that has expired", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.NotAfter = l.at.Add(-time.Hour) }
		}, "gpu0_certificate_time"},
		{"a leaf that is not valid yet", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.NotBefore = l.at.Add(time.Hour) }
		}, "gpu0_certificate_time"},
		{"a leaf that is an authority", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }
		}, "gpu0_certificate_chain"},
		{"a leaf for another purpose", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
		}, "gpu0_certificate_chain"},
		{"a leaf that may not sign", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }
		}, "gpu0_certificate_chain"},
		{"a device certificate that is no authority", func(l *lab) {
			l.devices[0].device.EditDevice = func(c *x509.Certificate) { c.IsCA = false }
		}, "gpu0_certificate_chain"},
		{"a leaf without firmware", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.ExtraExtensions = nil }
		}, "gpu0_certificate_chain"},
		{"a leaf for another chip than its device", func(l *lab) {
			l.devices[0].device.EditLeaf = func(c *x509.Certificate) { c.Subject.CommonName = "GB100 A01 GSP FMC LF" }
		}, "gpu0_certificate_chain"},
		{"a chip that nobody knows", func(l *lab) {
			l.devices[0].device.EditDevice = func(c *x509.Certificate) { c.Subject.CommonName = "GA100 A01 GSP BROM" }
		}, "gpu0_certificate_chain"},
	})
}

func TestHostileOCSP(t *testing.T) {
	at := func(subject string, edit func(l *lab, s *nvidiatest.OCSPSpec)) func(*lab) {
		return func(l *lab) {
			l.editOCSP = func(got string, s *nvidiatest.OCSPSpec) {
				if got == subject {
					edit(l, s)
				}
			}
		}
	}
	run(t, hopper, []hostile{
		{"a revoked device", func(l *lab) { l.editOCSP = status(brom, ocsp.Revoked, ocsp.KeyCompromise) }, "gpu0_device_ocsp_good"},
		{"a device on hold", func(l *lab) { l.editOCSP = status(brom, ocsp.Revoked, ocsp.CertificateHold) }, "gpu0_device_ocsp_hold"},
		{"a device that the responder does not know", func(l *lab) { l.editOCSP = status(brom, ocsp.Unknown, 0) }, "gpu0_device_ocsp_good"},
		{"a revoked provisioner", func(l *lab) { l.editOCSP = status(provisioner, ocsp.Revoked, ocsp.CACompromise) }, "gpu0_device_ocsp_good"},
		{"a revoked RIM issuer", func(l *lab) { l.editOCSP = status(rimIssuer, ocsp.Revoked, ocsp.CACompromise) },
			"gpu0_driver_rim_ocsp_good gpu0_vbios_rim_ocsp_good"},
		{"no response for the device", func(l *lab) { l.drop[brom] = true }, "gpu0_device_ocsp_response"},
		{"no responses at all", func(l *lab) {
			l.editSets = func(_ *nvidia.RIMSet, s *nvidia.OCSPSet) { *s = nvidia.OCSPSet{} }
		}, "gpu0_device_ocsp_response gpu0_driver_rim_ocsp_response gpu0_vbios_rim_ocsp_response"},
		{"a stale response", at(brom, func(l *lab, s *nvidiatest.OCSPSpec) {
			s.ThisUpdate, s.NextUpdate = l.at.Add(-48*time.Hour), l.at.Add(-time.Minute)
		}), "gpu0_device_ocsp_fresh"},
		{"a response that is staler than the grace", func(l *lab) {
			l.policy.OCSPGrace = time.Hour
			at(brom, func(l *lab, s *nvidiatest.OCSPSpec) {
				s.ThisUpdate, s.NextUpdate = l.at.Add(-48*time.Hour), l.at.Add(-2*time.Hour)
			})(l)
		}, "gpu0_device_ocsp_fresh"},
		{"a response from the future", at(brom, func(l *lab, s *nvidiatest.OCSPSpec) {
			s.ThisUpdate, s.NextUpdate = l.at.Add(time.Hour), l.at.Add(24*time.Hour)
		}), "gpu0_device_ocsp_response"},
		{"a responder that was delegated nothing", at(brom, func(_ *lab, s *nvidiatest.OCSPSpec) {
			s.EditResponder = func(c *x509.Certificate) { c.ExtKeyUsage = nil }
		}), "gpu0_device_ocsp_signature"},
		{"a responder whose certificate has expired", at(brom, func(l *lab, s *nvidiatest.OCSPSpec) {
			s.EditResponder = func(c *x509.Certificate) { c.NotAfter = l.at.Add(-time.Minute) }
		}), "gpu0_device_ocsp_fresh"},
		{"a responder that is an authority", at(brom, func(_ *lab, s *nvidiatest.OCSPSpec) {
			s.EditResponder = func(c *x509.Certificate) {
				c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign
			}
		}), "gpu0_device_ocsp_signature"},
		{"a response about the same number of an issuer of the same name", at(brom, func(l *lab, s *nvidiatest.OCSPSpec) {
			s.Subject = must2(foreignPKI(l).Device(l.devices[0].device))(l).Issuer
		}), "gpu0_device_ocsp_response"},
		{"a responder of another issuer", at(brom, func(l *lab, s *nvidiatest.OCSPSpec) {
			template := nvidiatest.Leaf("Test OCSP responder of somebody else")
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			s.Responder = must2(l.pki.Issue(template, l.pki.RIMIssuer))(l)
		}), "gpu0_device_ocsp_signature"},
	})
}

func TestAResponseThatMustBeUnderstoodOtherwiseIsRefused(t *testing.T) {
	l := newLab(t)
	subject := must2(l.pki.Device(l.devices[0].device))(l).Issuer
	for _, critical := range []bool{false, true} {
		der := must2(l.pki.OCSP(nvidiatest.OCSPSpec{
			Subject: subject, ThisUpdate: l.at.Add(-time.Hour), NextUpdate: l.at.Add(time.Hour),
			Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: critical, Value: []byte{5, 0}}},
		}))(l)
		if _, err := nvidia.NewOCSPSet(der); (err != nil) != critical {
			t.Errorf("an extension that is critical: %t, error %v", critical, err)
		}
	}
}
