package measure_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	theirs "github.com/google/gce-tcb-verifier/tdx"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

func TestMRTDAgreesWithGCETCBVerifier(t *testing.T) {
	for name, change := range map[string]func(*image){
		"as it is":            func(*image) {},
		"nothing is extended": func(im *image) { im.tdx[0].attr, im.tdx[1].attr = 0, 0 },
		"another order":       func(im *image) { im.tdx[0], im.tdx[1] = im.tdx[1], im.tdx[0] },
	} {
		im := goodImage()
		change(&im)
		im.tdx = im.tdx[:min(len(im.tdx), 4)] // gce-tcb-verifier doesn't know memory added after launch
		fw := im.build(t)
		want, err := theirs.MRTD(&theirs.LaunchOptions{}, fw)
		if err != nil {
			t.Fatalf("%s: gce-tcb-verifier: %v", name, err)
		}
		got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: fw})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.MRTD != want {
			t.Errorf("%s: MRTD %v, want %x", name, got.MRTD, want)
		}
	}
}

func TestMRTDByHand(t *testing.T) {
	im := goodImage()
	im.tdx = []tdvf{{0x2000, 0x1000, 0xFFFF0000, 0x1000, 0, 1}, {0, 0, 0x1000, 0x1000, 3, 0}}
	fw := im.build(t)
	h := sha512.New384()
	record := func(name string, gpa uint64) {
		var b [128]byte
		copy(b[:], name)
		binary.LittleEndian.PutUint64(b[16:], gpa)
		h.Write(b[:])
	}
	record("MEM.PAGE.ADD", 0xFFFF0000)
	for off := 0; off < 0x1000; off += 256 {
		record("MR.EXTEND", 0xFFFF0000+uint64(off))
		h.Write(fw[0x2000+off : 0x2100+off])
	}
	record("MEM.PAGE.ADD", 0x1000)
	got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: fw})
	if err != nil || !bytes.Equal(got.MRTD[:], h.Sum(nil)) {
		t.Errorf("MRTD %v, error %v; want %x", got, err, h.Sum(nil))
	}
}

func TestUnusableTDXFirmwareIsRefused(t *testing.T) {
	for name, change := range map[string]func(*image){
		"no TDX metadata":                  func(im *image) { im.tdx = nil },
		"no sections":                      func(im *image) { im.tdx = []tdvf{} },
		"address within a page":            func(im *image) { im.tdx[0].address++ },
		"size within a page":               func(im *image) { im.tdx[0].size++ },
		"address and size overflow":        func(im *image) { im.tdx[4].address, im.tdx[4].size = 1<<64-0x1000, 0x2000 },
		"data outside the image":           func(im *image) { im.tdx[0].offset = 0x8000 },
		"data at 4 GiB":                    func(im *image) { im.tdx[0].offset = 0xFFFFF000 },
		"less data than is measured":       func(im *image) { im.tdx[0].raw = 0x1000 },
		"measured, but added after launch": func(im *image) { im.tdx[0].attr = 3 },
		"a petabyte added":                 func(im *image) { im.tdx[2].size = 1 << 50 },
		"many sections of 200 MiB":         func(im *image) { im.tdx[2].size, im.tdx[3].size = 200<<20, 200<<20 },
	} {
		im := goodImage()
		change(&im)
		if got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: im.build(t)}); err == nil {
			t.Errorf("%s: measured as %v", name, got.MRTD)
		}
	}
}

// kernel is a Linux image with an EFI stub, of the test's own making: setup header,
// PE header, two sections out of order, and certificates if wanted.
func kernel(certs int) []byte {
	b := make([]byte, 0x4000+certs)
	for i := range b {
		b[i] = byte(i * 7)
	}
	clear(b[:0x1000])
	copy(b, "MZ")
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20F)
	b[0x211] = 1
	binary.LittleEndian.PutUint32(b[0x22C:], 0x7FFFFFFF)
	binary.LittleEndian.PutUint16(b[0x236:], 0x7F)
	const at = 0x40
	binary.LittleEndian.PutUint32(b[0x3C:], at)
	copy(b[at:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[at+6:], 2)    // sections
	binary.LittleEndian.PutUint16(b[at+20:], 160) // optional header
	opt := b[at+24:]
	binary.LittleEndian.PutUint16(opt, 0x20B)
	binary.LittleEndian.PutUint32(opt[60:], 0x1000)     // headers
	binary.LittleEndian.PutUint32(opt[64:], 0xDEADBEEF) // checksum
	binary.LittleEndian.PutUint32(opt[108:], 6)         // directories
	if certs > 0 {
		binary.LittleEndian.PutUint32(opt[144:], 0x4000)
		binary.LittleEndian.PutUint32(opt[148:], uint32(certs))
	}
	for i, s := range [][2]uint32{{0x1000, 0x3000}, {0x2000, 0x1000}} {
		e := opt[160+40*i:]
		binary.LittleEndian.PutUint32(e[16:], s[0])
		binary.LittleEndian.PutUint32(e[20:], s[1])
	}
	binary.LittleEndian.PutUint32(opt[160+16:], 0x1000)
	binary.LittleEndian.PutUint32(opt[200+16:], 0x2000)
	return b
}

// whole is the Authenticode digest of an image whose sections fill it: everything but
// checksum, certificate directory and certificates.
func whole(b []byte, certs int) []byte {
	const opt = 0x40 + 24
	h := sha512.New384()
	h.Write(b[:opt+64])
	h.Write(b[opt+68 : opt+144])
	h.Write(b[opt+152 : len(b)-certs])
	return h.Sum(nil)
}

func TestAuthenticodeLeavesOutChecksumAndCertificates(t *testing.T) {
	for _, certs := range []int{0, 0x200} {
		b := kernel(certs)
		got, err := measure.Authenticode(b)
		if err != nil || !bytes.Equal(got[:], whole(b, certs)) {
			t.Errorf("certificates of %d bytes: %v, error %v; want %x", certs, got, err, whole(b, certs))
		}
		b[0x40+24+64] ^= 1
		if again, err := measure.Authenticode(b); err != nil || again != got {
			t.Errorf("with another checksum: %v, error %v; want the same", again, err)
		}
		b[0x2000] ^= 1
		if again, err := measure.Authenticode(b); err != nil || again == got {
			t.Errorf("with another byte: %v, error %v; want another digest", again, err)
		}
	}
}

func TestKernelsThatAreNoEFIImagesAreRefused(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"empty":                  func([]byte) []byte { return nil },
		"not MZ":                 func(b []byte) []byte { b[0] = 0; return b },
		"PE header outside":      func(b []byte) []byte { binary.LittleEndian.PutUint32(b[0x3C:], 0xFFFFFFF0); return b },
		"no PE signature":        func(b []byte) []byte { b[0x40] = 0; return b },
		"32 bits":                func(b []byte) []byte { binary.LittleEndian.PutUint16(b[0x58:], 0x10B); return b },
		"short optional header":  func(b []byte) []byte { binary.LittleEndian.PutUint16(b[0x54:], 100); return b },
		"headers outside":        func(b []byte) []byte { binary.LittleEndian.PutUint32(b[0x58+60:], 1<<31); return b },
		"headers too short":      func(b []byte) []byte { binary.LittleEndian.PutUint32(b[0x58+60:], 10); return b },
		"section outside":        func(b []byte) []byte { binary.LittleEndian.PutUint32(b[0x58+160+20:], 1<<31); return b },
		"sections overlap a lot": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[0x58+160+16:], 0x1001); return b },
		"a thousand sections":    func(b []byte) []byte { binary.LittleEndian.PutUint16(b[0x46:], 1000); return b },
	} {
		if d, err := measure.Authenticode(change(kernel(0))); err == nil {
			t.Errorf("%s: measured as %v", name, d)
		}
	}
}

func TestTheSetupHeaderIsPatchedAsByQEMU(t *testing.T) {
	for name, c := range map[string]struct {
		initrd int
		memory uint64
		xflags uint16
		max    uint32
		want   uint32 // where the initrd goes
	}{
		"much memory, initrd anywhere":     {0x1000, 0, 0x7F, 0, 0x80000000 - 0x28000 - 1 - 0x1000&^0xFFF},
		"little memory":                    {0x1000, 0x40000000, 0x7F, 0, (0x40000000 - 0x28000 - 1 - 0x1000) &^ 0xFFF},
		"limit of the kernel's":            {0x1000, 0, 0, 0x37FFFFFF, (0x37FFFFFF - 0x1000) &^ 0xFFF},
		"limit above the end of low space": {0x12345, 16 << 30, 0, 0x7FFFFFFF, (0x80000000 - 0x28000 - 1 - 0x12345) &^ 0xFFF},
	} {
		k := kernel(0)
		binary.LittleEndian.PutUint16(k[0x236:], c.xflags)
		binary.LittleEndian.PutUint32(k[0x22C:], c.max)
		got, err := measure.PatchKernel(k, c.initrd, c.memory)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := bytes.Clone(k)
		want[0x210], want[0x211] = 0xB0, 0x81
		binary.LittleEndian.PutUint16(want[0x224:], 0xFE00)
		binary.LittleEndian.PutUint32(want[0x228:], 0x20000)
		binary.LittleEndian.PutUint32(want[0x218:], c.want&^0xFFF)
		binary.LittleEndian.PutUint32(want[0x21C:], uint32(c.initrd))
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: byte 0x%x is 0x%02x, want 0x%02x", name, i, got[i], want[i])
			}
		}
	}
	old := kernel(0)
	binary.LittleEndian.PutUint16(old[0x206:], 0x201)
	if _, err := measure.PatchKernel(old, 0, 0); err == nil {
		t.Error("a kernel of protocol 2.1 was patched")
	}
	if _, err := measure.PatchKernel(kernel(0), 1<<30, 1<<29); err == nil {
		t.Error("an initrd larger than memory was placed")
	}
}

func extendAll(parts ...[]byte) []byte {
	r := make([]byte, 48)
	for _, p := range parts {
		d := sha512.Sum384(append(r, p...))
		r = d[:]
	}
	return r
}

func of(b []byte) []byte { d := sha512.Sum384(b); return d[:] }

func TestRTMRsOfADirectBoot(t *testing.T) {
	boot := &measure.DirectBoot{Kernel: kernel(0), Initrd: []byte("initrd"), Append: "a=b"}
	wide := []byte{}
	for _, c := range []byte("a=b initrd=initrd\x00") {
		wide = append(wide, c, 0)
	}
	want2 := extendAll(of(wide), of([]byte("initrd")))
	for _, form := range []measure.KernelForm{measure.KernelPatched, measure.KernelAsIs} {
		image := boot.Kernel
		if form == measure.KernelPatched {
			var err error
			if image, err = measure.PatchKernel(image, len(boot.Initrd), 0); err != nil {
				t.Fatal(err)
			}
		}
		want1 := extendAll(whole(image, 0), of([]byte("Calling EFI Application from Boot Option")), of(make([]byte, 4)),
			of([]byte("Exit Boot Services Invocation")), of([]byte("Exit Boot Services Returned with Success")))
		got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: goodImage().build(t), Boot: boot, Form: form})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.RTMR1[:], want1) || !bytes.Equal(got.RTMR2[:], want2) {
			t.Errorf("RTMR1 %v, RTMR2 %v; want %x, %x", got.RTMR1, got.RTMR2, want1, want2)
		}
	}
}

func TestDirectBootsThatCannotBePredictedAreRefused(t *testing.T) {
	for name, boot := range map[string]*measure.DirectBoot{
		"no initrd":                    {Kernel: kernel(0)},
		"no kernel":                    {Initrd: []byte("i")},
		"command line beyond ASCII":    {Kernel: kernel(0), Initrd: []byte("i"), Append: "ü"},
		"NUL in the command line":      {Kernel: kernel(0), Initrd: []byte("i"), Append: "a\x00"},
		"kernel without an EFI header": {Kernel: make([]byte, 0x2000), Initrd: []byte("i")},
	} {
		if _, err := measure.MeasureTDX(measure.TDXGuest{Firmware: goodImage().build(t), Boot: boot}); err == nil {
			t.Errorf("%s: measured", name)
		}
	}
}

func TestMeasurementsInJSON(t *testing.T) {
	got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: goodImage().build(t)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil || string(b) != `{"mr_td":"`+got.MRTD.String()+`"}` {
		t.Errorf("JSON %s, error %v; want MRTD alone", b, err)
	}
	var back measure.TDXMeasurement
	if err := json.Unmarshal(b, &back); err != nil || back.MRTD != got.MRTD {
		t.Errorf("read back %+v, error %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"mr_td":"abc"}`), &back); err == nil {
		t.Error("a short digest was read")
	}
}

func TestRTMR0IsTakenOnlyForShapesThatWereRecorded(t *testing.T) {
	shapes := measure.Shapes{"cpu8-mem64": {1}}
	if d, err := shapes.RTMR0("cpu8-mem64"); err != nil || d != (measure.Digest{1}) {
		t.Errorf("RTMR0 %v, error %v", d, err)
	}
	if _, err := shapes.RTMR0("cpu9"); err == nil || !strings.Contains(err.Error(), "cpu9") {
		t.Errorf("error %v, want one that names the shape", err)
	}
}
