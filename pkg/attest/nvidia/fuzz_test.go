package nvidia_test

import (
	"bytes"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
)

// Each target checks that its parser returns, and that what it accepts keeps the
// promises of its documentation. The seeds are made by the lab, so that the
// corpus is there without the public vectors.

func FuzzReport(f *testing.F) {
	l := newLab(f).protected()
	e, _, _ := l.build()
	for _, d := range e.Devices {
		f.Add(d.Report)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := nvidia.ParseReport(raw)
		if err != nil {
			return
		}
		if len(r.Nonce) != 32 || len(r.ResponderNonce) != 32 || len(r.Signature) != 96 || len(r.Measurements) == 0 {
			t.Errorf("accepted with sizes %d, %d, %d and %d measurements", len(r.Nonce), len(r.ResponderNonce), len(r.Signature), len(r.Measurements))
		}
		last := -1
		for _, m := range r.Measurements {
			if m.Index <= last || len(m.Value) != 48 {
				t.Errorf("measurement %d of %d bytes after %d", m.Index, len(m.Value), last)
			}
			last = m.Index
		}
	})
}

func FuzzOpaque(f *testing.F) {
	l := newLab(f).protected()
	e, _, _ := l.build()
	for _, d := range e.Devices {
		r, err := nvidia.ParseReport(d.Report)
		if err != nil {
			f.Fatal(err)
		}
		const record = 8 // response header, number of blocks, length
		at := 37 + record + len(r.Measurements)*55 + 32 + 2
		f.Add(d.Report[at : len(d.Report)-96])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := nvidia.ParseOpaque(raw)
		if err != nil {
			return
		}
		for _, arch := range []nvidia.Architecture{nvidia.Hopper, nvidia.Blackwell, nvidia.LS10} {
			for _, id := range []func(nvidia.Architecture, nvidia.Opaque) (string, error){nvidia.DriverRIMID, nvidia.VBIOSRIMID} {
				if name, err := id(arch, o); err == nil && bytes.ContainsAny([]byte(name), "/\\ \x00\n") {
					t.Errorf("RIM id %q could lead out of a folder", name)
				}
			}
		}
		for _, ask := range []func() error{
			func() error { _, err := o.Mode(); return err },
			func() error { _, err := o.LinkedSwitches(); return err },
			func() error { _, err := o.LinkedGPUs(); return err },
			func() error { _, err := o.OwnPDI(); return err },
			func() error { _, err := o.FWID(); return err },
		} {
			_ = ask() // any answer will do, as long as there is one
		}
	})
}

func FuzzEvidence(f *testing.F) {
	sdk, system, _ := documents(f, newLab(f).protected())
	f.Add(sdk)
	f.Add(system)
	f.Add([]byte(`{"gpus":[],"nvswitches":[{"uuid":1}]}`))
	pki, err := testPKI()
	if err != nil {
		f.Fatal(err)
	}
	v := newVerifier(f, pki.Config())
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := nvidia.ParseEvidence(raw)
		if err != nil {
			return
		}
		if n := len(e.Devices); n == 0 || n > 32 {
			t.Errorf("accepted with %d devices", n)
		}
		if v.Verify(e, nil, nil, nvidia.Policy{PermitUnpinned: true}, nil, day("2026-11-01T12:00")).Accepted {
			t.Error("evidence under a root that the policy does not name was accepted")
		}
	})
}

func FuzzRIM(f *testing.F) {
	l := newLab(f)
	for _, id := range []string{driverID, vbiosID} {
		f.Add(must2(l.pki.RIM(*l.rims[id]))(l))
	}
	f.Add([]byte(`<S xmlns="x"><a/></S>`))
	e, _, _ := l.build()
	pki := l.pki
	v := newVerifier(f, pki.Config())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := nvidia.ParseRIM(raw); err == nil && (len(r.Golden) == 0 || r.Version == "" || r.Product == "") {
			t.Errorf("accepted without contents: %+v", r)
		}
		set, err := nvidia.NewRIMSet(map[string][]byte{driverID: raw, vbiosID: raw})
		if err != nil {
			return
		}
		// One document can't be driver and VBIOS.
		if v.Verify(e, set, nil, pki.Trust(nvidia.Policy{PermitUnpinned: true}), nil, l.at).Accepted {
			t.Error("accepted")
		}
	})
}

func FuzzOCSP(f *testing.F) {
	l := newLab(f)
	device := must2(l.pki.Device(l.devices[0].device))(l)
	for _, r := range must2(l.pki.AllGood(device.Issuer, l.at, l.at.AddDate(0, 0, 1)))(l) {
		f.Add(r)
	}
	f.Add([]byte("MAMKAQY="))
	e, _, _ := l.build()
	v := newVerifier(f, l.pki.Config())
	f.Fuzz(func(t *testing.T, raw []byte) {
		set, err := nvidia.NewOCSPSet(raw)
		if err != nil {
			return
		}
		// One response can't speak for three issuers' certificates.
		if v.Verify(e, nil, set, l.pki.Trust(nvidia.Policy{PermitUnpinned: true}), nil, l.at).Accepted {
			t.Error("accepted")
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(fullPolicy))
	f.Add([]byte("{gpu_count: 1, allow_hold: true}"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := nvidia.ParsePolicy(raw)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Errorf("accepted, though %v", err)
		}
	})
}
