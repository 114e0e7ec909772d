package agent

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/pkg/attest"
)

const metricPrefix = "casemate_agent_"

// bootBuckets are in seconds: a large model takes many minutes to load.
var bootBuckets = []float64{1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600}

// metrics counts boots and evidence. What can be read from the state is collected
// when it is asked for. No label names an enclave or a card.
type metrics struct {
	registry *prometheus.Registry
	boots    *prometheus.HistogramVec
	evidence *prometheus.CounterVec
}

// Ends of boots, and of questions for evidence.
const (
	bootHealthy        = "healthy"
	bootFailed         = "failed"
	evidenceAccepted   = "accepted"
	evidenceRefused    = "refused"
	evidenceUnanswered = "unanswered"
)

func newMetrics(a *Agent) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		boots: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: metricPrefix + "boot_seconds", Help: "Time from the creation of an enclave until it was healthy, or failed before that.", Buckets: bootBuckets}, []string{"outcome"}),
		evidence: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "evidence_total", Help: "Questions for evidence, by result."}, []string{"result"}),
	}
	for _, outcome := range []string{bootHealthy, bootFailed} {
		m.boots.WithLabelValues(outcome)
	}
	for _, result := range []string{evidenceAccepted, evidenceRefused, evidenceUnanswered} {
		m.evidence.WithLabelValues(result)
	}
	m.registry.MustRegister(m.boots, m.evidence, &stateCollector{a})
	return m
}

// Metrics has what is counted here, for Prometheus.
func (a *Agent) Metrics() *prometheus.Registry { return a.metrics.registry }

// changed counts an enclave that was booting, as old says, and is no more.
func (m *metrics) changed(old, e *agentv1.Enclave) {
	if old == nil || !booting(old.GetState()) || booting(e.GetState()) {
		return
	}
	took := e.GetStateTime().AsTime().Sub(e.GetCreateTime().AsTime())
	switch e.GetState() {
	case agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY:
		m.booted(bootHealthy, took)
	case agentv1.EnclaveState_ENCLAVE_STATE_FAILED:
		m.booted(bootFailed, took)
	}
}

func (m *metrics) booted(outcome string, took time.Duration) {
	m.boots.WithLabelValues(outcome).Observe(took.Seconds())
}

// judged counts an answer to a question for evidence.
func (m *metrics) judged(v *attest.Verdict, err error) {
	result := evidenceAccepted
	switch {
	case err != nil:
		result = evidenceUnanswered
	case !v.Accepted:
		result = evidenceRefused
	}
	m.evidence.WithLabelValues(result).Inc()
}

// booting are the states before the first health.
func booting(s agentv1.EnclaveState) bool {
	return s >= agentv1.EnclaveState_ENCLAVE_STATE_PREPARING && s <= agentv1.EnclaveState_ENCLAVE_STATE_STARTING
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(metricPrefix+name, help, labels, nil)
}

// Descriptions of what stateCollector reports.
var (
	descEnclaves   = describe("enclaves", "Enclaves, by state; those that have ended are kept for a while.", "state")
	descGPUs       = describe("gpus", "GPUs, by state: free, used, or faulty (not offered to an enclave).", "state")
	descConditions = describe("conditions", "Conditions of the host and its enclaves, by severity.", "severity")
	descAdopted    = describe("adopted", "1 once what runs here is known and calls are taken.")
	descEpoch      = describe("epoch", "Epoch of the coordinator that is followed; 0 before the first.")
)

// stateCollector reports the enclaves and GPUs of a host.
type stateCollector struct{ a *Agent }

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descEnclaves, descGPUs, descConditions, descAdopted, descEpoch} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	one := func(d *prometheus.Desc, v int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	host, _ := c.a.host.get()
	enclaves := c.a.board.list("")
	states, severities := map[agentv1.EnclaveState]int{}, map[agentv1.Severity]int{}
	conditions := slices.Clone(host.GetConditions())
	for _, e := range enclaves {
		states[e.GetState()]++
		conditions = append(conditions, e.GetConditions()...)
	}
	for _, cond := range conditions {
		severities[cond.GetSeverity()]++
	}
	for s := agentv1.EnclaveState_ENCLAVE_STATE_PREPARING; s <= agentv1.EnclaveState_ENCLAVE_STATE_FAILED; s++ {
		one(descEnclaves, states[s], strings.TrimPrefix(s.String(), "ENCLAVE_STATE_"))
	}
	for s := agentv1.Severity_SEVERITY_INFO; s <= agentv1.Severity_SEVERITY_ERROR; s++ {
		one(descConditions, severities[s], strings.TrimPrefix(s.String(), "SEVERITY_"))
	}
	free, used, faulty := gpuStates(host)
	one(descGPUs, free, "free")
	one(descGPUs, used, "used")
	one(descGPUs, faulty, "faulty")
	adopted := 0
	if c.a.isAdopted() {
		adopted = 1
	}
	one(descAdopted, adopted)
	one(descEpoch, int(c.a.fence.Current().Epoch))
}

func gpuStates(host *agentv1.Host) (free, used, faulty int) {
	for _, g := range host.GetGpus() {
		switch {
		case !g.GetHealthy():
			faulty++
		case g.GetEnclaveId() != "":
			used++
		default:
			free++
		}
	}
	return free, used, faulty
}
