package nvidia_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

// allKeys is everything that can be left open for one Hopper GPU.
const allKeys = "nonce architectures driver_versions vbios_versions modes gpu_count switch_count rims ocsp debug"

func TestWhatIsLeftOpenIsListed(t *testing.T) {
	off := false
	for _, tc := range []struct {
		rule   string
		change func(*lab)
		open   string
	}{
		{"nothing", func(*lab) {}, ""},
		{"no nonce", func(l *lab) { l.nonce, l.policy.PermitUnpinned = nil, true }, "nonce"},
		{"any driver", func(l *lab) { l.policy.DriverVersions, l.policy.MinimumDriver = nvidia.AnyVersion(), "" }, "driver_versions"},
		{"a minimum driver is a pin", func(l *lab) { l.policy.DriverVersions = nil }, ""},
		{"any VBIOS", func(l *lab) { l.policy.VBIOSVersions = nvidia.AnyVersion() }, "vbios_versions"},
		{"no counts", func(l *lab) { l.policy.GPUCount, l.policy.SwitchCount = nil, nil }, "gpu_count switch_count"},
		{"RIMs switched off, which hides debug on Hopper", func(l *lab) { l.policy.RequireRIMs = &off }, "rims debug"},
		{"OCSP switched off", func(l *lab) { l.policy.RequireOCSP = &off }, "ocsp"},
		{"RIM time not compared", func(l *lab) { l.policy.RIMTime = nvidia.RIMTimeNotChecked }, "rim_time"},
		{"an expired signer allowed", func(l *lab) {
			l.policy.RIMTime = nvidia.RIMTimeSignerExpired
			l.rims[driverID].NotAfter = l.at.Add(-time.Hour)
		}, "rim_time"},
		{"a signer that has not expired needs no leave", func(l *lab) { l.policy.RIMTime = nvidia.RIMTimeSignerExpired }, ""},
		{"RIMs and responses that were given are compared unasked", func(l *lab) {
			l.policy = l.pki.Trust(anyVersion())
		}, "architectures driver_versions vbios_versions modes gpu_count switch_count"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			l := newLab(t)
			tc.change(l)
			verdict := l.verify()
			if err := verdict.Err(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(verdict.NotPinned, " "); got != tc.open {
				t.Errorf("left open %q, want %q", got, tc.open)
			}
		})
	}
	t.Run("neither RIMs nor responses", func(t *testing.T) {
		l := newLab(t)
		e, _, _ := l.build()
		verdict := newVerifier(t, l.pki.Config()).Verify(e, nil, nil, l.pki.Trust(nvidia.Policy{PermitUnpinned: true}), nil, l.at)
		if got := strings.Join(verdict.NotPinned, " "); got != allKeys || !verdict.Accepted {
			t.Errorf("left open %q, want %q; %v", got, allKeys, verdict.Err())
		}
	})
}

// anyVersion is a strict policy that says of versions that any will do.
func anyVersion() nvidia.Policy {
	return nvidia.Policy{DriverVersions: nvidia.AnyVersion(), VBIOSVersions: nvidia.AnyVersion()}
}

func TestVersionsThatAStrictPolicyLeavesOutAreRefused(t *testing.T) {
	for _, tc := range []struct {
		rule, failed string
		change       func(*nvidia.Policy)
	}{
		{"both", "gpu0_driver_version gpu0_vbios_version", func(p *nvidia.Policy) {
			p.DriverVersions, p.MinimumDriver, p.VBIOSVersions = nil, "", nil
		}},
		{"the driver's", "gpu0_driver_version", func(p *nvidia.Policy) { p.DriverVersions, p.MinimumDriver = nil, "" }},
		{"the VBIOS's", "gpu0_vbios_version", func(p *nvidia.Policy) { p.VBIOSVersions = nil }},
		{"any driver above a floor that it is below", "gpu0_driver_version", func(p *nvidia.Policy) {
			p.DriverVersions, p.MinimumDriver = nvidia.AnyVersion(), "999.1"
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			l := newLab(t)
			tc.change(&l.policy)
			if got := failed(l.verify()); got != tc.failed {
				t.Errorf("failed %q, want %q", got, tc.failed)
			}
		})
	}
}

func TestZeroPolicyWantsWhatWasNotGiven(t *testing.T) {
	l := newLab(t)
	e, rims, responses := l.build()
	p := l.pki.Trust(anyVersion())
	v := newVerifier(t, l.pki.Config())
	if got, want := failed(v.Verify(e, nil, nil, p, l.nonce, l.at)), "gpu0_device_ocsp_response gpu0_driver_rim_found gpu0_vbios_rim_found"; got != want {
		t.Errorf("without RIMs and responses: failed %q, want %q", got, want)
	}
	if got, want := failed(v.Verify(e, rims, responses, p, nil, l.at)), "nonce_given"; got != want {
		t.Errorf("without a nonce: failed %q, want %q", got, want)
	}
	if got, want := failed(v.Verify(e, rims, responses, nvidia.Policy{}, l.nonce, l.at)), "gpu0_certificate_root gpu0_driver_rim_root gpu0_vbios_rim_root"; !strings.HasPrefix(got, "gpu0_certificate_root") {
		t.Errorf("with roots of our own: failed %q, want %q", got, want)
	}
}

func TestLeaveThatAPolicyGives(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		base     func(*lab) *lab
		change   func(*lab)
		insecure string
	}{
		{"a certificate on hold", hopper, func(l *lab) {
			l.editOCSP = status(brom, ocsp.Revoked, ocsp.CertificateHold)
			l.policy.AllowHold = true
		}, ""},
		{"a stale response within the grace", hopper, func(l *lab) {
			l.policy.OCSPGrace = 48 * time.Hour
			l.editOCSP = func(_ string, s *nvidiatest.OCSPSpec) {
				s.ThisUpdate, s.NextUpdate = l.at.Add(-72*time.Hour), l.at.Add(-47*time.Hour)
			}
		}, ""},
		{"an issuer that answers itself", hopper, func(l *lab) {
			l.editOCSP = func(subject string, s *nvidiatest.OCSPSpec) { s.BySelf = subject == provisioner }
		}, ""},
		{"a part in debug state", func(l *lab) *lab { return l.blackwell() }, func(l *lab) {
			l.devices[0].device.Flags = []byte{0x90, 0, 0, 1}
			l.policy.AllowDebug = true
		}, "debug"},
		{"index 35 differs where NVDEC0 is off", hopper, func(l *lab) {
			l.devices[0].report.NVDECOff = true
			l.devices[0].report.Measurements[35] = measured(5)
		}, ""},
		{"a Blackwell report that does not name its chip", func(l *lab) *lab { return l.blackwell() }, func(l *lab) {
			l.devices[0].report.EditFields = dropField(nvidia.FieldChipInfo)
		}, ""},
		{"a report without a mode", hopper, func(l *lab) {
			l.devices[0].report.Mode = nvidia.ModeUnstated
			l.policy.Modes = []nvidia.Mode{nvidia.ModeUnstated}
		}, ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			l := tc.base(newLab(t))
			tc.change(l)
			verdict := l.verify()
			if err := verdict.Err(); err != nil {
				t.Fatal(err)
			}
			if tc.insecure != "" && !slices.Contains(verdict.Insecure, tc.insecure) {
				t.Errorf("insecure %v, want %s in it", verdict.Insecure, tc.insecure)
			}
		})
	}
}

func TestWhatIsCachedIsJudgedAnew(t *testing.T) {
	l := newLab(t)
	l.rims[driverID].NotAfter = l.at.Add(24 * time.Hour)
	e, rims, good := l.build()
	l.editOCSP = status(brom, ocsp.Revoked, ocsp.KeyCompromise)
	_, _, revoked := l.build()
	v := newVerifier(t, l.pki.Config())
	for _, step := range []struct {
		rule      string
		responses *nvidia.OCSPSet
		policy    func(*nvidia.Policy)
		nonce     []byte
		at        time.Time
		failed    string
	}{
		{"first", good, nil, l.nonce, l.at, ""},
		{"again", good, nil, l.nonce, l.at, ""},
		{"revoked since", revoked, nil, l.nonce, l.at, "gpu0_device_ocsp_good"},
		{"another nonce", good, nil, measured(8)[:32], l.at, "gpu0_nonce"},
		{"another policy", good, func(p *nvidia.Policy) { p.RIMRoots = nil }, l.nonce, l.at, "gpu0_driver_rim_root gpu0_vbios_rim_root"},
		{"responses expired since", good, nil, l.nonce, l.at.Add(23*time.Hour + time.Minute),
			"gpu0_device_ocsp_fresh gpu0_driver_rim_ocsp_fresh gpu0_vbios_rim_ocsp_fresh"},
		{"RIM expired since", good, func(p *nvidia.Policy) { p.OCSPGrace = 48 * time.Hour }, l.nonce, l.at.Add(25 * time.Hour), "gpu0_driver_rim_time"},
		{"as at first", good, nil, l.nonce, l.at, ""},
	} {
		p := l.policy
		if step.policy != nil {
			step.policy(&p)
		}
		if got := failed(v.Verify(e, rims, step.responses, p, step.nonce, step.at)); got != step.failed {
			t.Errorf("%s: failed %q, want %q", step.rule, got, step.failed)
		}
	}
}

// The attestation SDK writes GPUs by themselves. Those in protected PCIe mode are
// only half of the picture.
func TestProtectedGPUsByThemselves(t *testing.T) {
	l := newLab(t).protected()
	e, rims, responses := l.build()
	gpus := nvidia.Evidence{Devices: e.Devices[:2]}
	v := newVerifier(t, l.pki.Config())
	for _, tc := range []struct {
		rule     string
		evidence nvidia.Evidence
		policy   nvidia.Policy
		failed   string
		open     bool
	}{
		{"refused unless said", gpus, anyVersion(), "topology_switches topology_gpus", false},
		{"permitted and listed", gpus, nvidia.Policy{PermitUnpinned: true}, "", true},
		{"the policy's word goes first", gpus, nvidia.Policy{PermitUnpinned: true, ProtectedPCIe: nvidia.ProtectedPCIeComplete}, "topology_switches topology_gpus", false},
		{"not permitted of a whole host", nvidia.Evidence{Devices: e.Devices[:2], System: true}, nvidia.Policy{PermitUnpinned: true}, "topology_switches topology_gpus", false},
		{"switches that are there are compared", nvidia.Evidence{Devices: e.Devices[:3]}, nvidia.Policy{PermitUnpinned: true}, "topology_switches", false},
		{"complete as an array", nvidia.Evidence{Devices: e.Devices}, anyVersion(), "", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			verdict := v.Verify(tc.evidence, rims, responses, l.pki.Trust(tc.policy), l.nonce, l.at)
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q", got, tc.failed)
			}
			if got := slices.Contains(verdict.NotPinned, "protected_pcie"); got != tc.open {
				t.Errorf("protected_pcie listed as open: %t, want %t", got, tc.open)
			}
		})
	}
}

func TestCachedChainIsKnownByItsCertificates(t *testing.T) {
	l := newLab(t)
	e, rims, responses := l.build()
	v := newVerifier(t, l.pki.Config())
	if err := v.Verify(e, rims, responses, l.policy, l.nonce, l.at).Err(); err != nil {
		t.Fatal(err)
	}
	chain := e.Devices[0].Chain
	e.Devices[0].Chain = append([][]byte{slices.Concat(chain[0], chain[1])}, chain[2:]...)
	if got := failed(v.Verify(e, rims, responses, l.policy, l.nonce, l.at)); got != "gpu0_certificate_chain" {
		t.Errorf("the same bytes in other bounds: failed %q, want gpu0_certificate_chain", got)
	}
}

func TestOneVerifierServesSeveralGoroutines(t *testing.T) {
	l := newLab(t).protected()
	e, rims, responses := l.build()
	c := l.pki.Config()
	c.Chains, c.RIMs, c.OCSPResponses = 2, 1, 3 // so that they throw each other out
	v := newVerifier(t, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := v.Verify(e, rims, responses, l.policy, l.nonce, l.at).Err(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestChecksKeepTheirOrder(t *testing.T) {
	l := newLab(t).protected()
	e, rims, responses := l.build()
	v := newVerifier(t, l.pki.Config())
	var first []string
	for range 3 {
		var names []string
		for _, c := range v.Verify(e, rims, responses, l.policy, l.nonce, l.at).Checks {
			if slices.Contains(names, c.Name) {
				t.Errorf("check %s occurs twice", c.Name)
			}
			names = append(names, c.Name)
		}
		if first == nil {
			first = names
		}
		if !slices.Equal(first, names) {
			t.Errorf("checks %v, then %v", first, names)
		}
	}
}
