package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/casemate-dev/casemate/pkg/release"
)

func TestParse(t *testing.T) {
	for rule, c := range map[string]struct {
		settings map[string]string
		want     Faults
		err      string
	}{
		"nothing is no fault":  {nil, Faults{}, ""},
		"times are read":       {map[string]string{BootTimeName: "300ms", LoadTimeName: "2s"}, Faults{BootTime: 300 * time.Millisecond, LoadTime: 2 * time.Second}, ""},
		"a kind":               {map[string]string{FaultName: "never-healthy"}, Faults{Kind: NeverHealthy}, ""},
		"a kind with its time": {map[string]string{FaultName: "dies-after:5s"}, Faults{Kind: DiesAfter, After: 5 * time.Second}, ""},
		"a host that listens":  {map[string]string{FaultName: "wiretapped"}, Faults{Kind: Wiretapped}, ""},
		"a missing time":       {map[string]string{FaultName: "dies-after"}, Faults{}, "needs a time"},
		"a time too many":      {map[string]string{FaultName: "hangs:1s"}, Faults{}, "has no time"},
		"a misspelt kind":      {map[string]string{FaultName: "hang"}, Faults{}, "not known"},
		"a misspelt name":      {map[string]string{"CASEMATE_SIM_FUALT": "hangs"}, Faults{}, "no such setting"},
		"a negative time":      {map[string]string{BootTimeName: "-1s"}, Faults{}, "no time between"},
		"a time without end":   {map[string]string{BootTimeName: "25h"}, Faults{}, "no time between"},
	} {
		got, err := Parse(c.settings)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %+v, %v", rule, got, err)
		}
	}
}

func TestSettingsOfARelease(t *testing.T) {
	cfg := &release.Config{Containers: []release.Container{
		{Env: []release.EnvVar{{Name: FaultName, Value: "boot-fails"}, {Name: LoadTimeName, Open: true}, {Name: "OTHER", Value: "x"}}},
		{Env: []release.EnvVar{{Name: FaultName, Value: "hangs"}, {Name: BootTimeName, Value: "1s"}}},
	}}
	f, err := Of(cfg, nil)
	if want := (Faults{Kind: BootFails, BootTime: time.Second}); err != nil || f != want {
		t.Errorf("got %+v, %v; expected %+v: the first container counts, open variables don't", f, err, want)
	}
	f, err = Of(cfg, map[string]string{FaultName: "stop-hangs"})
	if err != nil || f.Kind != StopHangs {
		t.Errorf("got %+v, %v; expected the host's fault", f, err)
	}
}
