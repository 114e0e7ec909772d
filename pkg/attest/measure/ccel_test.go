package measure_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// eventLog writes a log with a SHA-384, and another algorithm if wanted.
type eventLog struct {
	b    []byte
	algs [][2]uint16
}

func newLog(algs ...[2]uint16) *eventLog {
	l := &eventLog{algs: algs}
	content := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	content = binary.LittleEndian.AppendUint32(content, uint32(len(algs)))
	for _, a := range algs {
		content = binary.LittleEndian.AppendUint16(content, a[0])
		content = binary.LittleEndian.AppendUint16(content, a[1])
	}
	content = append(content, 0)
	l.words(0, 3)
	l.b = append(l.b, make([]byte, 20)...)
	l.words(uint32(len(content)))
	l.b = append(l.b, content...)
	return l
}

func (l *eventLog) words(w ...uint32) {
	for _, x := range w {
		l.b = binary.LittleEndian.AppendUint32(l.b, x)
	}
}

func (l *eventLog) event(register uint32, kind measure.EventType, digest, content []byte) {
	l.words(register, uint32(kind), uint32(len(l.algs)))
	for _, a := range l.algs {
		l.b = binary.LittleEndian.AppendUint16(l.b, a[0])
		if a[0] == 0xC {
			l.b = append(l.b, digest...)
		} else {
			l.b = append(l.b, make([]byte, a[1])...)
		}
	}
	l.words(uint32(len(content)))
	l.b = append(l.b, content...)
}

var sha384 = [2]uint16{0xC, 48}

func bootLog() *eventLog {
	l := newLog(sha384, [2]uint16{0xB, 32})
	l.event(1, 0x8000000B, of([]byte("hob")), []byte("TD HOB"))
	l.event(1, measure.EventSeparator, of(make([]byte, 4)), make([]byte, 4))
	l.event(0, measure.EventNoAction, of([]byte("x")), []byte("not extended"))
	l.event(2, measure.EventBootApplication, of([]byte("kernel")), []byte("path"))
	l.event(2, measure.EventAction, of([]byte("Calling EFI Application from Boot Option")), []byte("Calling EFI Application from Boot Option"))
	l.event(3, measure.EventTag, of([]byte("initrd")), []byte("Linux initrd"))
	return l
}

func TestAnEventLogIsReplayed(t *testing.T) {
	for name, fill := range map[string][]byte{"no filling": nil, "ones": bytes.Repeat([]byte{0xFF}, 100), "zeros": make([]byte, 100)} {
		events, err := measure.ParseEventLog(append(bootLog().b, fill...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(events) != 6 {
			t.Fatalf("%s: %d events, want 6", name, len(events))
		}
		for _, e := range events {
			if err := e.CheckContent(); err != nil {
				t.Error(err)
			}
		}
		got, err := measure.Replay(events)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range [][]byte{
			extendAll(of([]byte("hob")), of(make([]byte, 4))),
			extendAll(of([]byte("kernel")), of([]byte("Calling EFI Application from Boot Option"))),
			extendAll(of([]byte("initrd"))),
			make([]byte, 48),
		} {
			if !bytes.Equal(got[i][:], want) {
				t.Errorf("%s: RTMR%d %v, want %x", name, i, got[i], want)
			}
		}
	}
}

// A direct boot's log leads to the registers that MeasureTDX predicts.
func TestReplayAgreesWithPrediction(t *testing.T) {
	boot := &measure.DirectBoot{Kernel: kernel(0), Initrd: []byte("initrd"), Append: "quiet"}
	want, err := measure.MeasureTDX(measure.TDXGuest{Firmware: goodImage().build(t), Boot: boot, Form: measure.KernelAsIs})
	if err != nil {
		t.Fatal(err)
	}
	image, err := measure.Authenticode(boot.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	var line []byte
	for _, c := range []byte("quiet initrd=initrd\x00") {
		line = append(line, c, 0)
	}
	l := newLog(sha384)
	l.event(2, measure.EventBootApplication, image[:], nil)
	l.event(2, measure.EventAction, of([]byte("Calling EFI Application from Boot Option")), nil)
	l.event(2, measure.EventSeparator, of(make([]byte, 4)), make([]byte, 4))
	l.event(3, measure.EventTag, of(line), nil)
	l.event(3, measure.EventTag, of(boot.Initrd), nil)
	l.event(2, measure.EventAction, of([]byte("Exit Boot Services Invocation")), nil)
	l.event(2, measure.EventAction, of([]byte("Exit Boot Services Returned with Success")), nil)
	events, err := measure.ParseEventLog(l.b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := measure.Replay(events)
	if err != nil || got[1] != *want.RTMR1 || got[2] != *want.RTMR2 {
		t.Errorf("replayed %v, error %v; want %v and %v", got, err, want.RTMR1, want.RTMR2)
	}
}

func TestMalformedEventLogsAreRefused(t *testing.T) {
	good := bootLog().b
	for cut := range good {
		events, err := measure.ParseEventLog(good[:cut])
		if err == nil && len(events) == 6 {
			t.Errorf("cut at %d of %d, and still six events", cut, len(good))
		}
		if err != nil && !errors.Is(err, measure.ErrEventLog) {
			t.Errorf("cut at %d: error %v, want ErrEventLog", cut, err)
		}
	}
	onlySHA256 := newLog([2]uint16{0xB, 32})
	twice := newLog(sha384, sha384)
	register := newLog(sha384)
	register.event(5, measure.EventSeparator, of(nil), nil)
	short := newLog([2]uint16{0xC, 20})
	huge := newLog(sha384)
	huge.words(1, 4, 1)
	huge.b = append(append(huge.b, 0xC, 0), make([]byte, 48)...)
	huge.words(0xFFFFFFFF)
	for name, b := range map[string][]byte{
		"empty": nil, "no SHA-384": onlySHA256.b, "an algorithm twice": twice.b, "SHA-384 of 20 bytes": short.b,
		"register 5": register.b, "content of 4 GiB": huge.b, "a SHA-1 log": make([]byte, 64), "17 MiB": make([]byte, 17<<20),
	} {
		if events, err := measure.ParseEventLog(b); err == nil {
			t.Errorf("%s: read as %d events", name, len(events))
		}
	}
}

func TestMRTDCannotBeExtended(t *testing.T) {
	l := newLog(sha384)
	l.event(0, measure.EventSeparator, of(nil), nil)
	events, err := measure.ParseEventLog(l.b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := measure.Replay(events); err == nil {
		t.Error("an event for MRTD was replayed")
	}
}

func TestAnEventWhoseContentIsALieIsFound(t *testing.T) {
	l := newLog(sha384)
	l.event(1, measure.EventAction, of([]byte("one thing")), []byte("another thing"))
	events, err := measure.ParseEventLog(l.b)
	if err != nil {
		t.Fatal(err)
	}
	if err := events[0].CheckContent(); !errors.Is(err, measure.ErrEventLog) {
		t.Errorf("error %v, want the lie to be found", err)
	}
}
