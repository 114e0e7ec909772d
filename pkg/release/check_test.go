package release

import (
	"strings"
	"testing"
)

func TestCheckReportsEveryFile(t *testing.T) {
	report := Check(
		File{"good.yml", fixture(t, "minimal.yml")},
		File{"bad.yml", []byte("cpus: two\n")},
		File{"old.yml", fixture(t, "vintage.yml")},
	)
	if len(report) != 3 || !report[0].Usable() || report[1].Usable() || !report[2].Usable() {
		t.Fatalf("want usable, refused, usable; got\n%s", report)
	}
	if report.Usable() {
		t.Error("a report with a refused file says that all are usable")
	}
	if !report[:1].Usable() {
		t.Error("a report with usable files only says that one is refused")
	}
	text := report.String()
	for _, want := range []string{
		"good.yml: usable, sha256:", "bad.yml: refused\n", "  error   1:7: cpus: must be a whole number, not \"two\"\n",
		"  error   1:1: shim: is required\n", "old.yml: usable", "  warning 23:3: shim.listen-port: ignored: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestCheckSaysHowManyFaultsItLeftOut(t *testing.T) {
	var b strings.Builder
	for i := range 80 {
		b.WriteString(strings.Repeat("k", i+1) + ": 1\n")
	}
	report := Check(File{"bad.yml", []byte(b.String())})
	if report[0].OmittedFaults == 0 || !strings.Contains(report.String(), "more\n") {
		t.Errorf("the omitted faults are not counted:\n%s", report)
	}
}
