package nvidia_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia/nvidiatest"
)

// documents writes a lab's evidence in both forms.
func documents(t testing.TB, l *lab) (sdk, system []byte, e nvidia.Evidence) {
	t.Helper()
	e, _, _ = l.build()
	for i := range e.Devices {
		e.Devices[i].Stated.Nonce = l.nonce
	}
	sdk = must2(nvidia.EncodeEvidence(e))(l)
	for i := range e.Devices {
		e.Devices[i].Stated = nvidia.Stated{}
		if !e.Devices[i].Arch.IsSwitch() {
			e.Devices[i].Stated = nvidia.Stated{DriverVersion: "550.90.07", VBIOSVersion: "96.00.9F.00.01"}
		}
	}
	return sdk, must2(nvidiatest.SystemDocument(e.Devices))(l), e
}

func TestBothFormsOfDocument(t *testing.T) {
	l := newLab(t).protected()
	sdk, system, want := documents(t, l)
	_, rims, responses := l.build()
	for name, document := range map[string][]byte{"system": system, "attestation SDK": sdk} {
		t.Run(name, func(t *testing.T) {
			e := parseEvidence(t, document)
			if diff := cmp.Diff(want, e); name == "system" && diff != "" {
				t.Error(diff)
			}
			if err := newVerifier(t, l.pki.Config()).Verify(e, rims, responses, l.policy, l.nonce, l.at).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The SDK of 2025 writes more members, and somebody may hand on one entry alone.
func TestFormsOfTheSDKsEntries(t *testing.T) {
	l := newLab(t)
	sdk, _, want := documents(t, l)
	want.Devices[0].Stated = nvidia.Stated{Nonce: l.nonce}
	full := strings.Replace(string(sdk), `"arch"`, `"version":"1.0","driver_version":"550.90.07","vbios_version":"96.00.9F.00.01","arch"`, 1)
	stated := want
	stated.Devices = []nvidia.Device{want.Devices[0]}
	stated.Devices[0].Stated = nvidia.Stated{Nonce: l.nonce, DriverVersion: "550.90.07", VBIOSVersion: "96.00.9F.00.01"}
	for _, tc := range []struct {
		rule, document string
		want           nvidia.Evidence
		failed         string
	}{
		{"an array", string(sdk), want, ""},
		{"one entry alone", strings.Trim(string(sdk), "[]"), want, ""},
		{"with versions", full, stated, ""},
		{"one entry alone with versions", strings.Trim(full, "[]"), stated, ""},
		{"another driver stated", strings.Replace(full, "550.90.07", "550.90.08", 1), nvidia.Evidence{}, "gpu0_driver_version"},
		{"another VBIOS stated", strings.Replace(full, "96.00.9F", "96.00.9E", 1), nvidia.Evidence{}, "gpu0_vbios_version"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			e := parseEvidence(t, []byte(tc.document))
			if diff := cmp.Diff(tc.want, e); tc.failed == "" && diff != "" {
				t.Error(diff)
			}
			_, rims, responses := l.build()
			verdict := newVerifier(t, l.pki.Config()).Verify(e, rims, responses, l.policy, l.nonce, l.at)
			if got := failed(verdict); got != tc.failed {
				t.Errorf("failed %q, want %q", got, tc.failed)
			}
		})
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	l := newLab(t)
	sdk, system, _ := documents(t, l)
	edit := func(of []byte, old, with string) string {
		if !bytes.Contains(of, []byte(old)) {
			t.Fatalf("the document has no %s", old)
		}
		return strings.Replace(string(of), old, with, 1)
	}
	for _, tc := range []struct{ rule, document, says string }{
		{"no device", `[]`, "no device"},
		{"no GPU", `{"gpus":[]}`, "no device"},
		{"a text", `"evidence"`, "array"},
		{"an unknown member", edit(sdk, `"arch"`, `"x":1,"arch"`), `"x"`},
		{"a member of another case", edit(sdk, `"arch"`, `"Arch"`), `"arch"`},
		{"a member twice", edit(sdk, `"arch"`, `"arch":"HOPPER","arch"`), "twice"},
		{"a member of another type", edit(sdk, `"arch":"HOPPER"`, `"arch":1`), "type"},
		{"no report", edit(sdk, `"evidence"`, `"evidences"`), `"evidence"`},
		{"an unknown architecture", edit(sdk, `"HOPPER"`, `"AMPERE"`), "AMPERE"},
		{"a nonce in upper case", edit(sdk, `"nonce":"`, `"nonce":"ABCDEF`), "nonce"},
		{"base64 with a line break", edit(sdk, `"evidence":"Ee`, `"evidence":"E\ne`), "escapes"},
		{"base64 without padding", edit(sdk, `"certificate":"LS0t`, `"certificate":"LS0`), "certificate"},
		{"another version of the form", edit(sdk, `"arch"`, `"version":"2.0","arch"`), "version"},
		{"an empty version of the driver", edit(sdk, `"arch"`, `"driver_version":"","arch"`), "driver_version"},
		{"one entry with an unknown member", `{"arch":"HOPPER","certificate":"","evidence":"","x":1}`, `"x"`},
		{"an entry among GPUs", `{"arch":"HOPPER","gpus":[]}`, `"arch"`},
		{"a switch with a driver", `{"arch":"LS10","certificate":"","evidence":"","driver_version":"1.2"}`, "driver"},
		{"no UUID", edit(system, `"UUID":"GPU-`, `"UUID":"GPU_`), "uuid"},
		{"an empty driver version", edit(system, `"DriverVersion":"550.90.07"`, `"DriverVersion":""`), "empty"},
		{"a switch among the GPUs", edit(system, `"Arch":"HOPPER"`, `"Arch":"LS10"`), "switch"},
		{"two architectures", edit(system, `"Arch":"HOPPER"`, `"Arch":"HOPPER","GPUArchitecture":9`), "one of"},
		{"an unknown number for the architecture", edit(system, `"Arch":"HOPPER"`, `"GPUArchitecture":8`), "8"},
		{"another position than stated", edit(system, `"Arch":"HOPPER"`, `"Arch":"HOPPER","Index":1`), "Index"},
		{"another class", edit(system, `"py/b64"`, `"py/object":"os.system","py/b64"`), "py/object"},
		{"an unknown member further in", edit(system, `"pem"`, `"x":1,"pem"`), `"x"`},
		{"more devices than any host has", "[" + strings.Repeat(string(sdk[1:len(sdk)-1])+",", 40) + string(sdk[1:]), "41 devices"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := nvidia.ParseEvidence([]byte(tc.document))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v does not say %s", err, tc.says)
			}
		})
	}
}

func TestChainsInPEM(t *testing.T) {
	l := newLab(t)
	e, _, _ := l.build()
	chain := e.Devices[0].Chain
	text := string(nvidia.ChainPEM(chain))
	first := text[:strings.Index(text, "-----END")]
	for _, tc := range []struct {
		rule, text string
		ok         bool
	}{
		{"canonical", text, true},
		{"no newline at the end", strings.TrimSuffix(text, "\n"), true},
		{"two newlines at the end", text + "\n", false},
		{"text before", "leaf:\n" + text, false},
		{"text between", strings.Replace(text, "-----\n-----", "-----\n\n-----", 1), false},
		{"a header", strings.Replace(text, first, strings.Replace(first, "\n", "\nProc-Type: x\n\n", 1), 1), false},
		{"another type", strings.ReplaceAll(text, "CERTIFICATE", "X509 CRL"), false},
		{"carriage returns", strings.ReplaceAll(text, "\n", "\r\n"), false},
		{"one long line", "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(chain[0]) + "\n-----END CERTIFICATE-----\n", false},
		{"nothing", "", false},
		{"a megabyte", strings.Repeat(text, 100), false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, err := nvidia.ParseChainPEM([]byte(tc.text))
			if (err == nil) != tc.ok {
				t.Fatalf("%v, want accepted %t", err, tc.ok)
			}
			if tc.ok && !cmp.Equal(got, chain) {
				t.Error("the chain is another")
			}
		})
	}
}

func TestRIMSets(t *testing.T) {
	l := newLab(t)
	doc := must2(l.pki.RIM(*l.rims[driverID]))(l)
	e, _, _ := l.build()
	for _, tc := range []struct {
		rule  string
		files []string
		found bool
	}{
		{"a file with the RIM's id", []string{driverID + ".xml"}, true},
		{"an id at the end of a name", []string{"2026_" + driverID + ".xml"}, true},
		{"the whole name goes first", []string{"2026_" + driverID + ".xml", driverID + ".xml"}, true},
		{"two names that end so", []string{"2025_" + driverID + ".xml", "2026_" + driverID + ".xml"}, false},
		{"an id that only begins the name", []string{driverID + "_old.xml"}, true},
		{"no file", nil, false},
		{"a name that says nothing", []string{"driver.xml"}, true},
		{"two names that say nothing", []string{"a.xml", "b.xml"}, false},
		{"a name that says nothing beside the RIM's id", []string{"a.xml", driverID + ".xml"}, true},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			files := fstest.MapFS{"readme.txt": {Data: []byte("not a RIM")}}
			for _, f := range tc.files {
				files[f] = &fstest.MapFile{Data: doc}
			}
			set, err := nvidia.LoadRIMs(files)
			if err != nil {
				t.Fatal(err)
			}
			verdict := newVerifier(t, l.pki.Config()).Verify(e, set, nil, l.pki.Trust(nvidia.Policy{PermitUnpinned: true}), nil, l.at)
			if got := passed(verdict, "gpu0_driver_rim_found"); got != tc.found {
				t.Errorf("found %t, want %t", got, tc.found)
			}
		})
	}
	t.Run("an empty folder has no response to find", func(t *testing.T) {
		set, err := nvidia.LoadOCSP(os.DirFS(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		verdict := newVerifier(t, l.pki.Config()).Verify(e, nil, set, l.pki.Trust(nvidia.Policy{PermitUnpinned: true}), nil, l.at)
		if got := failed(verdict); got != "gpu0_device_ocsp_response" {
			t.Errorf("failed %q, want the missing responses", got)
		}
	})
	t.Run("a document of a megabyte", func(t *testing.T) {
		if _, err := nvidia.LoadRIMs(fstest.MapFS{"a.xml": {Data: make([]byte, 1<<20)}}); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("a response that is none", func(t *testing.T) {
		_, err := nvidia.LoadOCSP(fstest.MapFS{"bad.der": {Data: []byte("x")}})
		if err == nil || !strings.Contains(err.Error(), "bad.der") {
			t.Errorf("%v does not name the file", err)
		}
	})
}

func TestRIMIDs(t *testing.T) {
	l := newLab(t).protected()
	e, _, _ := l.build()
	got, err := e.RIMIDs()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{driverID, vbiosID, biosID}, got); diff != "" {
		t.Error(diff)
	}
}
