//go:build cgo && linux

package nscq

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/casemate-dev/casemate/pkg/gpu"
	"github.com/casemate-dev/casemate/pkg/gpu/nscq/nscqtest"
)

var nonce = [32]byte{7, 31: 9}

// label is the name of the n-th switch.
func label(n int) string { return fmt.Sprintf("SWX-35FF863C-6060-5091-4975-2169DA2D52%02X", n) }

// board has four switches that report over the nonce, each in its own words; nothing
// reads a report here.
func board(t *testing.T) *nscqtest.Double {
	t.Helper()
	return nscqtest.New(t, several(4)...)
}

func several(n int) []nscqtest.Switch {
	var list []nscqtest.Switch
	for i := range n {
		list = append(list, nscqtest.Switch{
			Label: label(i), Chain: fmt.Appendf(nil, "chain %d", i),
			Reports: map[[32]byte][]byte{nonce: fmt.Appendf(nil, "report %d", i)},
		})
	}
	return list
}

func TestEverySwitchReportsOverTheCallersNonce(t *testing.T) {
	d := board(t)
	list, err := New(d.File()).Reports(nonce)
	if err != nil {
		t.Fatal(err)
	}
	var want []gpu.NVSwitchReport
	calls := []string{"create", "observe /drv/nvswitch/{device}/uuid", "observe /{nvswitch}/id/arch"}
	for i := range 4 {
		want = append(want, gpu.NVSwitchReport{UUID: label(i), Report: fmt.Appendf(nil, "report %d", i), Chain: fmt.Appendf(nil, "chain %d", i)})
		at := "observe /" + label(i) + "/config/"
		calls = append(calls, at+"pcie_mode", "input", at+"attestation_report", at+"certificate")
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(calls, "destroy"), d.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestTheLargestAnswersFit(t *testing.T) {
	report, chain := slices.Repeat([]byte{1}, 0x2000), slices.Repeat([]byte{2}, 0x1400)
	d := nscqtest.New(t, nscqtest.Switch{Label: label(0), Chain: chain, Report: report})
	list, err := New(d.File()).Reports(nonce)
	if err != nil || len(list) != 1 || !slices.Equal(list[0].Report, report) || !slices.Equal(list[0].Chain, chain) {
		t.Errorf("%d reports, %v", len(list), err)
	}
}

func TestTheEndOfATextIsNoPartOfIt(t *testing.T) {
	d := nscqtest.New(t, nscqtest.Switch{Label: label(0), Chain: []byte("chain\x00"), Report: []byte("report\x00")})
	list, err := New(d.File()).Reports(nonce)
	if err != nil || len(list) != 1 || string(list[0].Chain) != "chain" || string(list[0].Report) != "report\x00" {
		t.Errorf("%q, %v", list, err)
	}
}

func TestOneAnswerThatIsMissingFailsTheCall(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"a driver that is not there":        {"create -7", "make a session: NSCQ code -7 (driver error)"},
		"no session":                        {"no session 1", "NSCQ gives none"},
		"switches that can't be listed":     {"return uuid -128", "list switches: NSCQ code -128 (unspecified)"},
		"a switch that can't be listed":     {"callback uuid -2", "list switches: NSCQ code -2 (invalid UUID)"},
		"nothing listed":                    {"times uuid 0", "there is none"},
		"more switches than a board has":    {"times uuid 5", "NSCQ names 20; a board has at most 16"},
		"a switch without a name":           {"label -2", "name a switch: NSCQ code -2"},
		"another architecture":              {"arch 1", "switch 1 of 4 is 1, not LS10's 2"},
		"no architecture":                   {"callback arch -1", "architectures: ask: NSCQ code -1 (not implemented)"},
		"architectures of other switches":   {"times arch 2", "answers for 8 switches, want 4"},
		"more architectures than fit":       {"times arch 9", "answers for 36 switches, want 4"},
		"a switch that is not locked":       {"mode 1", label(0) + ": mode: it is enabled, not locked"},
		"a switch whose mode failed":        {"mode 2", "it is failed, not locked"},
		"a switch whose mode is unknown":    {"mode -1", "it is unknown, not locked"},
		"a switch in a mode of the future":  {"mode 7", "it is 7, not locked"},
		"no mode":                           {"times pcie_mode 0", "mode: NSCQ answers for 0 switches, want 1"},
		"a nonce that is not taken":         {"input -5", "hand over the nonce: NSCQ code -5 (unexpected value)"},
		"a report that fails":               {"return attestation_report -8", "attestation report: ask: NSCQ code -8 (timeout)"},
		"a report that fails when told":     {"callback attestation_report -7", "attestation report: ask: NSCQ code -7"},
		"a warning instead of a report":     {"callback attestation_report 3", "attestation report: ask: NSCQ code 3 (unknown)"},
		"no report":                         {"times attestation_report 0", "attestation report: NSCQ answers 0 times"},
		"two reports":                       {"times attestation_report 2", "attestation report: NSCQ answers 2 times"},
		"an empty report":                   {"size attestation_report 0", "says 0 bytes"},
		"a report beyond its buffer":        {"size attestation_report 8193", "says 8193 bytes, there is room for 8192"},
		"a chain that fails":                {"callback certificate -7", "certificate chain: ask: NSCQ code -7"},
		"no chain":                          {"times certificate 0", "certificate chain: NSCQ answers 0 times"},
		"an empty chain":                    {"size certificate 0", "says 0 bytes"},
		"a chain beyond its buffer":         {"size certificate 5121", "says 5121 bytes, there is room for 5120"},
		"a chain beyond the report's":       {"size certificate 4294967295", "says 4294967295 bytes, there is room for 5120"},
		"a library older than the driver":   {"create 1", "of different versions: make a session: NSCQ code 1 (warning: RDT initialisation failed)"},
		"a library that knows not this one": {"create -6", "of different versions: make a session: NSCQ code -6 (unsupported driver)"},
	} {
		d := board(t)
		d.Script(c.script + "\n")
		l := New(d.File())
		list, err := l.Reports(nonce)
		if err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %d reports, error %v; want %q in it", name, len(list), err, c.want)
		}
		if unfit := strings.Contains(c.want, "different versions"); errors.Is(err, gpu.ErrNoNSCQ) != unfit {
			t.Errorf("%s: that the library is not for this driver is said to be %t", name, !unfit)
		}
		if created := !strings.Contains(c.script, "create -") && !strings.Contains(c.script, "no session"); slices.Contains(d.Calls(), "destroy") != created {
			t.Errorf("%s: the session's end: calls %q", name, d.Calls())
		}
		d.Script("")
		if list, err := l.Reports(nonce); err != nil || len(list) != 4 {
			t.Errorf("%s: once that is mended: %d reports, %v", name, len(list), err)
		}
	}
}

func TestWhatCantStandInAPathIsNoName(t *testing.T) {
	for _, name := range []string{"{nvswitch}", "../SWX-1", "SWX 1", strings.Repeat("A", 64)} {
		d := board(t)
		d.Call(name)
		if list, err := New(d.File()).Reports(nonce); err == nil || !strings.Contains(err.Error(), "want letters, digits and dashes") || list != nil {
			t.Errorf("%q: %d reports, %v", name, len(list), err)
		}
	}
}

func TestABoardWithoutSwitchesHasNoReports(t *testing.T) {
	d := nscqtest.New(t)
	if list, err := New(d.File()).Reports(nonce); err == nil || !strings.Contains(err.Error(), "there is none") || list != nil {
		t.Errorf("%d reports, %v", len(list), err)
	}
}

func TestALibraryThatIsNotThereMayComeLater(t *testing.T) {
	file := t.TempDir() + "/" + Name
	l := New(file)
	if list, err := l.Reports(nonce); !errors.Is(err, gpu.ErrNoNSCQ) || !strings.Contains(err.Error(), Name) || list != nil {
		t.Errorf("%d reports, %v", len(list), err)
	}
	l.file = board(t).File()
	if list, err := l.Reports(nonce); err != nil || len(list) != 4 {
		t.Errorf("once it is there: %d reports, %v", len(list), err)
	}
	// Some library that is there, and is another.
	if _, err := New("libc.so.6").Reports(nonce); !errors.Is(err, gpu.ErrNoNSCQ) || !strings.Contains(err.Error(), "lacks nscq_session_create") {
		t.Errorf("another library: %v", err)
	}
}

func TestCallsAtOnceGoOneAfterTheOther(t *testing.T) {
	d := board(t)
	l := New(d.File())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if list, err := l.Reports(nonce); err != nil || len(list) != 4 {
				t.Errorf("%d reports, %v", len(list), err)
			}
		})
	}
	all.Wait()
	for i, call := range d.Calls() {
		if at := i % 20; (call == "create") != (at == 0) || (call == "destroy") != (at == 19) {
			t.Fatalf("call %d is %q: sessions overlap", i, call)
		}
	}
}
