package measure_test

import (
	"crypto/sha512"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	theirs "github.com/google/gce-tcb-verifier/tdx"
	"github.com/google/go-eventlog/ccel"
	"github.com/google/go-eventlog/extract"
	"github.com/google/go-eventlog/register"

	"github.com/casemate-dev/casemate/pkg/attest/measure"
)

// recorded are event logs of real TDX guests (COS 113 on Google's cloud) that the
// module go-eventlog carries, with the registers that its tests name for them
// (v0.0.2, ccel/replay_test.go).
var recorded = map[string][3]string{
	"cos-113-intel-tdx.bin": {
		"3fa2f61f395b7f5feefb4ec2df61297f109ad8abcd6410c1b7df60f21f37b19297fc35e544039c7e1edece752afd17f6",
		"f62dbc072bd5d3f3438b7b35c39a727f5aea2ffc2473f43723953f530daf62504f0a7944aa62c41a86e8a878c2b122c1",
		"4969684dc87381fc3b3134176c8d8806eaf0a901859f5f70cfae8d17714b46c10a8de219048c9fc09f11f381a6fbe7c1",
	},
	"cos-113-intel-tdx-dupe-separator.bin": {
		"a4de2df23e9611299123ba4359c42a5e578b0f8488bf1bba8ef5606d9ea5d81c97c064b482a5eac537d166bd0f0f752d",
		"0ee9366c928a77092f55e9e114c7394181fd264699155f0df77d23577618d5f650568a17d379355a07bd846e552f4e20",
		"4969684dc87381fc3b3134176c8d8806eaf0a901859f5f70cfae8d17714b46c10a8de219048c9fc09f11f381a6fbe7c1",
	},
}

// recordedLog reads a file of the module's test data.
func recordedLog(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-eventlog").Output()
	if err != nil || strings.TrimSpace(string(dir)) == "" {
		t.Fatalf("find the module's folder (%q): %v", dir, err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "eventlogs", "ccel", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordedEventLogsLeadToThePublishedRegisters(t *testing.T) {
	for name, want := range recorded {
		events, err := measure.ParseEventLog(recordedLog(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := measure.Replay(events)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, w := range append(want[:], strings.Repeat("00", 48)) {
			if got[i].String() != w {
				t.Errorf("%s: RTMR%d is %v, published is %s", name, i, got[i], w)
			}
		}
		for i, e := range events {
			if err := e.CheckContent(); err != nil {
				t.Errorf("%s: event %d: %v", name, i, err)
			}
		}
	}
}

// A log that was changed in one digest, or lacks an event, leads elsewhere.
func TestAChangedRecordedLogLeadsElsewhere(t *testing.T) {
	events, err := measure.ParseEventLog(recordedLog(t, "cos-113-intel-tdx.bin"))
	if err != nil {
		t.Fatal(err)
	}
	was, err := measure.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.Type == measure.EventNoAction {
			continue
		}
		events[i].Digest[i%48] ^= 1
		if now, err := measure.Replay(events); err != nil || now == was {
			t.Errorf("with another digest of event %d the registers are the same, %v", i, err)
		}
		events[i] = e
		less := append(append([]measure.Event{}, events[:i]...), events[i+1:]...)
		if now, err := measure.Replay(less); err != nil || now == was {
			t.Errorf("without event %d the registers are the same, %v", i, err)
		}
	}
}

// go-eventlog accepts our registers for its logs, and refuses others.
func TestReplayAgreesWithGoEventlog(t *testing.T) {
	const name = "cos-113-intel-tdx.bin"
	raw, table := recordedLog(t, name), recordedLog(t, "cos-113-intel-tdx.table.bin")
	events, err := measure.ParseEventLog(raw)
	if err != nil {
		t.Fatal(err)
	}
	rtmr, err := measure.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	bank := func(change int) register.RTMRBank {
		var out register.RTMRBank
		for i, d := range rtmr[:3] {
			if i == change {
				d[0] ^= 1
			}
			out.RTMRs = append(out.RTMRs, register.RTMR{Index: i, Digest: d[:]})
		}
		return out
	}
	if _, err := ccel.ReplayAndExtract(table, raw, bank(-1), extract.Opts{Loader: extract.GRUB}); err != nil {
		t.Errorf("it refuses our registers: %v", err)
	}
	for i := range 3 {
		if _, err := ccel.ReplayAndExtract(table, raw, bank(i), extract.Opts{Loader: extract.GRUB}); err == nil {
			t.Errorf("it accepts another RTMR%d", i)
		}
	}
}

// What every boot leaves in RTMR1 stands in a real guest's log with the digests that
// are used to predict that register (pkg/attest/measure/tdx.go, and the same in
// tdx-measure's src/kernel.rs).
func TestTheStepsOfABootHaveTheRecordedDigests(t *testing.T) {
	events, err := measure.ParseEventLog(recordedLog(t, "cos-113-intel-tdx.bin"))
	if err != nil {
		t.Fatal(err)
	}
	const rtmr1 = 2 // registers of a log count from MRTD
	for what, content := range map[string]string{
		"the call of the boot option": "Calling EFI Application from Boot Option", "the separator": "\x00\x00\x00\x00",
		"the end of boot services": "Exit Boot Services Invocation", "their end's success": "Exit Boot Services Returned with Success",
	} {
		want, found := measure.Digest(sha512.Sum384([]byte(content))), false
		for _, e := range events {
			found = found || e.Register == rtmr1 && e.Digest == want
		}
		if !found {
			t.Errorf("%s: no event of RTMR1 has the digest %v", what, want)
		}
	}
}

// Whatever real firmware is installed: gce-tcb-verifier computes the same MRTD.
func TestMRTDOfInstalledFirmwareIsGCETCBVerifiers(t *testing.T) {
	ran := 0
	for _, pattern := range []string{"/usr/share/ovmf/*.fd", "/usr/share/OVMF/*.fd"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			image, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, theirErr := theirs.MRTD(&theirs.LaunchOptions{}, image)
			got, err := measure.MeasureTDX(measure.TDXGuest{Firmware: image})
			switch {
			case theirErr != nil: // no firmware of a TDX guest, or one that it doesn't know
			case err != nil:
				t.Errorf("%s: %v; gce-tcb-verifier says %x", file, err, want)
			case got.MRTD != want:
				t.Errorf("%s: MRTD %v, gce-tcb-verifier says %x", file, got.MRTD, want)
			default:
				ran++
			}
		}
	}
	if ran == 0 {
		t.Fatal("no firmware to measure: install Debian's package ovmf (make apt does)")
	}
}
