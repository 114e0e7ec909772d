//go:build cgo && linux

package gpus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/internal/guest"
	"github.com/casemate-dev/casemate/internal/guest/gpus"
	"github.com/casemate-dev/casemate/internal/guest/tsm"
	"github.com/casemate-dev/casemate/internal/guest/tsm/tsmtest"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/collateral"
	"github.com/casemate-dev/casemate/pkg/attest/evidence"
	"github.com/casemate-dev/casemate/pkg/attest/judge"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
	"github.com/casemate-dev/casemate/pkg/attest/simulated/vendors"
	"github.com/casemate-dev/casemate/pkg/gpu"
	"github.com/casemate-dev/casemate/pkg/gpu/nscq"
	"github.com/casemate-dev/casemate/pkg/gpu/nscq/nscqtest"
)

// answers are NVML's, signed beforehand.
type answers []gpu.NVMLReport

func (a answers) Reports([32]byte) ([]gpu.NVMLReport, error) { return a, nil }

// label is what the library calls the n-th switch.
func label(n int) string { return fmt.Sprintf("SWX-65B32ACD-47A1-0E14-FA3B-63360E7680%02X", n) }

// board is a Hopper board in protected PCIe mode as its two libraries show it.
func board(devices []nvidia.Device, nonce [32]byte, name func(int) string) (answers, []nscqtest.Switch) {
	var cards answers
	var switches []nscqtest.Switch
	for _, d := range devices {
		if !d.Arch.IsSwitch() {
			cards = append(cards, gpu.NVMLReport{BusID: fmt.Sprint(len(cards)), Generation: gpu.Hopper, Report: d.Report, Chain: nvidia.ChainPEM(d.Chain)})
			continue
		}
		switches = append(switches, nscqtest.Switch{
			Label: name(len(switches)), Chain: nvidia.ChainPEM(d.Chain), Reports: map[[32]byte][]byte{nonce: d.Report},
		})
	}
	return cards, switches
}

func documents(t *testing.T, cards answers, library *nscq.Library, nonce [32]byte) ([][]byte, error) {
	t.Helper()
	source, err := gpus.New(gpus.Config{NVML: cards, NSCQ: library, Deadline: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return source.Devices(t.Context(), nonce)
}

// TestARecordedBoardAnswersThroughTheLibrary plays the evidence of a real board, whose
// nonce is known, through the guest to the verifier.
func TestARecordedBoardAnswersThroughTheLibrary(t *testing.T) {
	recorded := vector(t, "ppcie_8x_h100_4_switches.json")
	e, err := nvidia.ParseEvidence(recorded)
	if err != nil {
		t.Fatal(err)
	}
	var names struct {
		Switches []struct {
			UUID string `json:"uuid"`
		} `json:"nvswitches"`
	}
	if err := json.Unmarshal(recorded, &names); err != nil {
		t.Fatal(err)
	}
	first, err := nvidia.ParseReport(e.Devices[0].Report)
	if err != nil {
		t.Fatal(err)
	}
	nonce := [32]byte(first.Nonce)
	cards, switches := board(e.Devices, nonce, func(n int) string { return names.Switches[n].UUID })
	library := nscq.New(nscqtest.New(t, switches...).File())
	shown, err := documents(t, cards, library, nonce)
	if err != nil || len(shown) != 12 {
		t.Fatalf("%d documents, %v", len(shown), err)
	}
	joined := nvidia.Evidence{System: true}
	for i, document := range shown {
		one, err := nvidia.ParseEvidence(document)
		if err != nil {
			t.Fatal(err)
		}
		joined.Devices = append(joined.Devices, one.Devices...)
		if !slices.Equal(one.Devices[0].Report, e.Devices[i].Report) || one.Devices[0].Arch != e.Devices[i].Arch {
			t.Errorf("document %d is of another device", i)
		}
	}
	verifier, err := nvidia.New(nvidia.Config{})
	if err != nil {
		t.Fatal(err)
	}
	off := false
	p := nvidia.Policy{PermitUnpinned: true, RequireRIMs: &off, RequireOCSP: &off, ProtectedPCIe: nvidia.ProtectedPCIeRequired}
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	v := verifier.Verify(joined, nil, nil, p, nonce[:], at)
	if !v.Accepted || !passed(v, "topology_switches") || !passed(v, "topology_gpus") {
		t.Errorf("the recorded board is refused: %v", v.Err())
	}
}

// TestARecordedChainIsReadAsTheLibraryGivesIt: the SDK recorded it unchanged.
func TestARecordedChainIsReadAsTheLibraryGivesIt(t *testing.T) {
	var recorded []struct{ Certificate, Evidence []byte }
	if err := json.Unmarshal(vector(t, "switch_evidence_ls10.json"), &recorded); err != nil {
		t.Fatal(err)
	}
	e, err := nvidia.ParseEvidence(vector(t, "ppcie_8x_h100_4_switches.json"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := nvidia.ParseReport(recorded[0].Evidence)
	if err != nil {
		t.Fatal(err)
	}
	// A card that answers this nonce is not recorded; its report is not verified here.
	of := slices.Clone(e.Devices[0].Report)
	copy(of[4:], report.Nonce)
	cards := answers{{BusID: "0", Generation: gpu.Hopper, Report: of, Chain: nvidia.ChainPEM(e.Devices[0].Chain)}}
	d := nscqtest.New(t, nscqtest.Switch{Label: label(0), Chain: recorded[0].Certificate, Report: recorded[0].Evidence})
	shown, err := documents(t, cards, nscq.New(d.File()), [32]byte(report.Nonce))
	if err != nil || len(shown) != 2 {
		t.Fatalf("%d documents, %v", len(shown), err)
	}
	// Asked with another nonce the same switch does not answer.
	copy(of[4:], make([]byte, 32))
	if _, err := documents(t, cards, nscq.New(d.File()), [32]byte{}); err == nil || !strings.Contains(err.Error(), "switch "+label(0)+": its report answers the nonce") {
		t.Errorf("error %v", err)
	}
}

// vector is a file of recorded evidence, or skips the test and says what did not run.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("CASEMATE_VECTORS")
	if dir == "" {
		t.Skip("NOT RUN: recorded evidence of NVSwitches through the double of NSCQ; set CASEMATE_VECTORS to the folder that has nvidia/")
	}
	b, err := os.ReadFile(filepath.Join(dir, "nvidia", "evidence", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func passed(v *attest.Verdict, name string) bool {
	return slices.ContainsFunc(v.Checks, func(c attest.Check) bool { return c.Name == name && c.OK })
}

// TestASimulatedBoardIsJudgedWithItsTopology goes from the library to the verdict on a
// whole enclave: eight GPUs, and switches that a hostile host may leave out.
func TestASimulatedBoardIsJudgedWithItsTopology(t *testing.T) {
	nonce := [32]byte{3, 31: 4}
	launch := vendors.Launch{Measurement: [48]byte{1}, HostData: [32]byte{2}}
	machine, j := simulatedBoard(t)
	devices := append(must(machine.GPUs(nonce))(t), must(machine.Switches(nonce))(t)...)
	cards, switches := board(devices, nonce, label)
	show := func(library *nscq.Library) ([]byte, error) {
		source, err := gpus.New(gpus.Config{NVML: cards, NSCQ: library, Deadline: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		kernel := tsmtest.New(machine.Provider(), machine.Processor(launch))
		hardware, err := tsm.New(tsm.Config{Client: kernel, Devices: source.Devices})
		if err != nil {
			t.Fatal(err)
		}
		return guest.Evidence(t.Context(), hardware, evidence.Document{Nonce: nonce, PlatformDigest: launch.HostData})
	}
	judged := func(with []nscqtest.Switch) *attest.Verdict {
		document, err := show(nscq.New(nscqtest.New(t, with...).File()))
		if err != nil {
			t.Fatal(err)
		}
		return j.Verify(t.Context(), document, judge.Expect{
			Nonce: nonce, PlatformDigest: launch.HostData, GPUs: len(cards), Measurements: []judge.Measurement{{Launch: launch.Measurement}},
		})
	}
	v := judged(switches)
	if !v.Accepted || !passed(v, "topology_switches") || !passed(v, "topology_gpus") || !passed(v, "switch3_report_signature") {
		t.Errorf("the board is not accepted with its topology: %v", v.Err())
	}
	if v := judged(switches[:3]); v.Accepted || len(v.Failed()) != 1 || v.Failed()[0].Name != "topology_switches" {
		t.Errorf("with a switch left out: %v", v.Err())
	}
	if document, err := show(nscq.New("/nonexistent/" + nscq.Name)); document != nil || err == nil || !strings.Contains(err.Error(), "install libnvidia-nscq-") {
		t.Errorf("without the library: %d bytes, %v", len(document), err)
	}
}

// must passes a value on, and fails the test with the error beside it.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// simulatedBoard is a machine with eight simulated GPUs and their switches, and a judge
// that looks into what their vendors publish.
func simulatedBoard(t *testing.T) (*vendors.Machine, *judge.Judge) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vendor")
	v := must(vendors.Open(dir, time.Now()))(t)
	text := must(v.Machine(vendors.Spec{TEE: attest.FormatSEVSNP, GPUs: strings.Split("01234567", ""), Architecture: nvidia.Hopper}))(t)
	published := must(collateral.NewCache(collateral.CacheConfig{Folder: filepath.Join(dir, vendors.CollateralFolder)}))(t)
	t.Cleanup(func() { _ = published.Close() })
	j := must(judge.New(judge.Config{
		Policy:          must(policy.Parse(must(os.ReadFile(filepath.Join(dir, vendors.PolicyFile)))(t)))(t),
		SimulatedRoots:  must(judge.ParseRoots(must(os.ReadFile(filepath.Join(dir, vendors.RootsFile)))(t)))(t),
		SimulatedGetter: published,
	}))(t)
	return must(vendors.ParseMachine(text))(t), j
}
