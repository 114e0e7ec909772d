package agent

import (
	"maps"
	"slices"
	"strings"
	"testing"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// counted are the agent's metrics by name and labels; a histogram is its number of
// values.
func counted(t *testing.T, a *Agent) map[string]float64 {
	t.Helper()
	families, err := a.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			var labels []string
			for _, l := range one.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			v := one.GetGauge().GetValue() + one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
			name := strings.TrimPrefix(f.GetName(), metricPrefix)
			out[strings.TrimSuffix(name+"{"+strings.Join(labels, ",")+"}", "{}")] = v
		}
	}
	return out
}

func TestMetricsCountEnclavesBootsAndEvidence(t *testing.T) {
	h := newHarness(t)
	good := h.mustCreate("c1-r1-1", newSpec(1)).GetId()
	h.await(good, in(agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY))
	eventually(t, "the host tells that the GPU is used", func() bool { return counted(t, h.agent)["gpus{state=used}"] == 1 })
	got := counted(t, h.agent)
	for name, want := range map[string]float64{
		"enclaves{state=HEALTHY}": 1, "enclaves{state=FAILED}": 0, "boot_seconds{outcome=healthy}": 1, "boot_seconds{outcome=failed}": 0,
		"evidence_total{result=accepted}": 1, "evidence_total{result=refused}": 0, "adopted": 1, "gpus{state=faulty}": 0,
	} {
		if v, told := got[name]; !told || v != want {
			t.Errorf("%s is %v (told: %v), want %v", name, v, told, want)
		}
	}
}

// TestMetricNamesAreStable fails when a name or a label changes: dashboards and
// alerts stand on them. No label may name an enclave or a card.
func TestMetricNamesAreStable(t *testing.T) {
	h := newHarness(t)
	h.await(h.mustCreate("c1-r1-1", newSpec(1)).GetId(), in(agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY))
	got := map[string]bool{}
	for series := range counted(t, h.agent) {
		if strings.Contains(series, "c1-r1") || strings.Contains(series, "0000:") {
			t.Errorf("%s names an enclave or a card", series)
		}
		name, labels, _ := strings.Cut(series, "{")
		key, _, _ := strings.Cut(labels, "=")
		got[strings.TrimSpace(name+" "+key)] = true
	}
	want := []string{"adopted", "boot_seconds outcome", "conditions severity", "enclaves state", "epoch", "evidence_total result", "gpus state"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("metrics are %v, want %v", names, want)
	}
}

func TestABootThatEndsIsCountedOnce(t *testing.T) {
	m := newHarness(t).agent.metrics
	state := func(s agentv1.EnclaveState) *agentv1.Enclave { return &agentv1.Enclave{State: s} }
	const (
		booting   = agentv1.EnclaveState_ENCLAVE_STATE_BOOTING
		starting  = agentv1.EnclaveState_ENCLAVE_STATE_STARTING
		healthy   = agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY
		unhealthy = agentv1.EnclaveState_ENCLAVE_STATE_UNHEALTHY
		stopping  = agentv1.EnclaveState_ENCLAVE_STATE_STOPPING
		failed    = agentv1.EnclaveState_ENCLAVE_STATE_FAILED
	)
	m.changed(nil, state(healthy)) // one that was adopted
	for _, pair := range [][2]agentv1.EnclaveState{
		{booting, starting}, {starting, healthy}, {healthy, unhealthy}, {unhealthy, healthy}, {healthy, failed}, {booting, stopping}, {booting, failed},
	} {
		m.changed(state(pair[0]), state(pair[1]))
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != metricPrefix+"boot_seconds" {
			continue
		}
		for _, one := range f.GetMetric() {
			if n := one.GetHistogram().GetSampleCount(); n != 1 {
				t.Errorf("%s: %d boots are counted, want 1", one.GetLabel()[0].GetValue(), n)
			}
		}
	}
}
