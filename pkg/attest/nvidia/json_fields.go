package nvidia

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// fields reads an object's members. The first thing wrong is kept, and done
// reports it, or else the first member that nobody asked for.
type fields struct {
	v     *value
	err   error
	known []string
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *fields) get(name string, kind byte, required bool) *value {
	f.known = append(f.known, name)
	m := f.v.get(name)
	switch {
	case m == nil && required:
		f.fail(fmt.Errorf("member %q is missing", name))
	case m != nil && m.kind != kind:
		f.fail(fmt.Errorf("member %q has the wrong type", name))
		return nil
	}
	return m
}

func (f *fields) str(name string) string {
	if m := f.get(name, '"', true); m != nil {
		return m.text
	}
	return ""
}

func (f *fields) optional(name string) (string, bool) {
	if m := f.get(name, '"', false); m != nil {
		return m.text, true
	}
	return "", false
}

// optionalText reads a text that may be left out, but not be empty.
func (f *fields) optionalText(name string) string {
	text, ok := f.optional(name)
	if ok && text == "" {
		f.fail(fmt.Errorf("member %q is empty", name))
	}
	return text
}

func (f *fields) optionalNumber(name string) (int, bool) {
	m := f.get(name, '0', false)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m.text)
	if err != nil {
		f.fail(fmt.Errorf("member %q: %w", name, err))
	}
	return n, true
}

func (f *fields) array(name string) []value {
	if m := f.get(name, '[', true); m != nil {
		return m.items
	}
	return nil
}

func (f *fields) optionalArray(name string) []value {
	if m := f.get(name, '[', false); m != nil {
		return m.items
	}
	return nil
}

func (f *fields) base64(name string) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(f.str(name))
	if err != nil {
		f.fail(fmt.Errorf("member %q: %w", name, err))
	}
	return b
}

// class checks the type name that Python's jsonpickle adds, where there is one.
func (f *fields) class(want string) {
	if got, ok := f.optional("py/object"); ok && got != want {
		f.fail(fmt.Errorf("py/object is %.80q, want %q", got, want))
	}
}

// arch reads Arch (a name) or GPUArchitecture (NVML's number: 9 Hopper, 10
// Blackwell), of which exactly one has to be there.
func (f *fields) arch() Architecture {
	name, named := f.optional("Arch")
	number, numbered := f.optionalNumber("GPUArchitecture")
	switch {
	case named == numbered:
		f.fail(errors.New("want one of Arch and GPUArchitecture"))
	case numbered && number == 9:
		return Hopper
	case numbered && number == 10:
		return Blackwell
	case numbered:
		f.fail(fmt.Errorf("GPUArchitecture %d is neither 9 (Hopper) nor 10 (Blackwell)", number))
	default:
		a, err := ParseArchitecture(name)
		if err == nil && a.IsSwitch() {
			err = fmt.Errorf("architecture %s among the gpus is a switch's", a)
		}
		if err != nil {
			f.fail(err)
		}
		return a
	}
	return ""
}

// within reads an object in the object with read, and takes over what was wrong.
func (f *fields) within(name string, read func(in *fields)) {
	m := f.get(name, '{', true)
	if m == nil {
		return
	}
	in := &fields{v: m}
	read(in)
	if err := in.done(); err != nil {
		f.fail(fmt.Errorf("%s: %w", name, err))
	}
}

// pickled reads bytes as jsonpickle writes them: {"py/b64": …}.
func (f *fields) pickled(name string) (b []byte) {
	f.within(name, func(in *fields) { b = in.base64("py/b64") })
	return b
}

// chains reads the certificates of a GPU's CertificateChains.
func (f *fields) chains() (certs []value) {
	f.within("CertificateChains", func(in *fields) {
		in.class("verifier.nvml.gpu_cert_chains.GpuCertificateChains")
		certs = in.array("GpuAttestationCertificateChain")
	})
	return certs
}

// done returns what was wrong, or names a member that should not be there.
func (f *fields) done() error {
	if f.err != nil {
		return f.err
	}
	if f.v.kind != '{' {
		return errors.New("want an object")
	}
next:
	for _, m := range f.v.members {
		for _, k := range f.known {
			if m.name == k {
				continue next
			}
		}
		return fmt.Errorf("member %.40q is not known here", m.name)
	}
	return nil
}
