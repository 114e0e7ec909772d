package evidence

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/attest"
)

func sample() *Document {
	return &Document{
		Format: attest.FormatSimulated, Nonce: [32]byte{1}, TLSKeyDigest: [32]byte{2},
		ConfigDigest: [32]byte{3}, PlatformDigest: [32]byte{4}, Report: []byte("report"),
		Certificates: [][]byte{[]byte("certificate")}, DeviceEvidence: [][]byte{[]byte("gpu")},
		Insecure: []string{MarkSimulated, MarkDebug},
	}
}

func encoded(t testing.TB, d *Document) string {
	t.Helper()
	raw, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDocumentIsReadAsItWasWritten(t *testing.T) {
	for name, d := range map[string]*Document{
		"with everything": sample(),
		"without devices": {
			Format: attest.FormatSEVSNP, Report: []byte{1},
			Certificates: [][]byte{}, DeviceEvidence: [][]byte{}, Insecure: []string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(encoded(t, d)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, got); diff != "" {
				t.Errorf("document changed on its way (-written +read):\n%s", diff)
			}
		})
	}
}

func TestDocumentIsRefused(t *testing.T) {
	good := encoded(t, sample())
	change := func(old, now string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the sample has no %s", old)
		}
		return strings.Replace(good, old, now, 1)
	}
	for rule, c := range map[string]struct{ raw, want string }{
		"an unknown member":               {change(`{`, `{"x":1,`), `unknown member "x"`},
		"a member in other case":          {change(`"nonce"`, `"Nonce"`), `unknown member "Nonce"`},
		"a member given twice":            {change(`{`, `{"format":"tdx",`), `given twice`},
		"a missing member":                {change(`"insecure":["simulated","debug"]`, `"x":1`), "unknown member"},
		"no device list":                  {change(`"device_evidence":["Z3B1"],`, ``), `"device_evidence" is missing`},
		"a list that is null":             {change(`["Z3B1"]`, `null`), "expected a list"},
		"base64 without padding":          {change("Y2VydGlmaWNhdGU=", "Y2VydGlmaWNhdGU"), "canonical base64"},
		"base64 with stray bits":          {change("Y2VydGlmaWNhdGU=", "Y2VydGlmaWNhdGV="), "canonical base64"},
		"base64 with a line break":        {change("Z3B1", `Z3\nB1`), "canonical base64"},
		"hex in upper case":               {change("0100", "A100"), "lower-case hex"},
		"hex that is too short":           {change("0100", "01"), "64 lower-case hex digits"},
		"hex that is too long":            {change("0100", "010000"), "has 66 bytes"},
		"an empty report":                 {change("cmVwb3J0", ""), "report is empty"},
		"an unknown format":               {change(`"simulated"`, `"sgx"`), `"sgx" is not known`},
		"the GPU's format as its own":     {change(`"simulated"`, `"nvidia"`), `"nvidia" is not known`},
		"another version":                 {change(`"version":1`, `"version":2`), "version 2 is not supported"},
		"a version that is no number":     {change(`"version":1`, `"version":"1"`), "whole number"},
		"a fraction as version":           {change(`"version":1`, `"version":1.0`), "whole number"},
		"a made-up mark":                  {change(`"debug"`, `"secure"`), "no insecure mark"},
		"an entry that is no string":      {change(`"Z3B1"`, `7`), "must be a string"},
		"something after the document":    {good + "{}", "something follows"},
		"a truncated document":            {good[:len(good)-1], "does not end"},
		"a list instead":                  {"[" + good + "]", "expected an object"},
		"nothing":                         {"", "expected an object"},
		"bytes that are not UTF-8":        {change("Z3B1", "\xff"), "not UTF-8"},
		"more than the bound":             {change("Z3B1", strings.Repeat("A", MaxBytes)), "are read"},
		"a report larger than its bound":  {change("cmVwb3J0", blob(MaxReport+1)), "at most"},
		"a certificate beyond its bound":  {change("Y2VydGlmaWNhdGU=", blob(MaxCertificate+1)), "at most"},
		"more certificates than may be":   {change(`"Y2VydGlmaWNhdGU="`, `"AA=="`+strings.Repeat(`,"AA=="`, 16)), "more than 16"},
		"more devices than a host has":    {change(`"Z3B1"`, `"AA=="`+strings.Repeat(`,"AA=="`, 32)), "more than 32"},
		"device evidence beyond its size": {change("Z3B1", blob(MaxDevice+1)), "at most"},
	} {
		t.Run(rule, func(t *testing.T) {
			_, err := Parse([]byte(c.raw))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %.200v, expected it to say %q", err, c.want)
			}
		})
	}
}

func blob(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

func TestEncodeRefusesWhatParseWould(t *testing.T) {
	d := sample()
	d.Report = bytes.Repeat([]byte{1}, MaxReport+1)
	if _, err := d.Encode(); err == nil {
		t.Error("a report beyond its bound was encoded")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(encoded(f, sample())))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"nonce":"","nonce":""}`))
	f.Add([]byte(`[{}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := Parse(raw)
		if err != nil {
			return
		}
		again, err := Parse([]byte(encoded(t, d)))
		if err != nil {
			t.Fatalf("what was read can't be read again: %v", err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Errorf("two readings differ:\n%s", diff)
		}
	})
}
