// Package metrics counts for Prometheus what an operator needs to know of a
// coordinator at a glance. No label names a container, an enclave or a host: how
// many series there are does not grow with the fleet.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

const prefix = "casemate_coordinator_"

// Metrics are the counts of one coordinator.
type Metrics struct {
	registry     *prometheus.Registry
	commits      prometheus.Histogram
	failed       *prometheus.CounterVec
	attestations *prometheus.CounterVec
	updates      *prometheus.HistogramVec
	steps        *prometheus.HistogramVec
	followed     followed
}

// Buckets of durations, in seconds: commits wait for a disk, updates for people.
var (
	commitBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	updateBuckets = []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400}
)

// New returns metrics that count nothing yet.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "store_commit_seconds", Help: "Time of a commit to the store, those that failed included.", Buckets: commitBuckets}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "store_commit_failures_total", Help: "Commits that failed, by reason; conflicts are taken again."}, []string{"reason"}),
		attestations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "attestations_total", Help: "Judgements of evidence, by what is judged (candidate, serving) and result (accepted, refused, unanswered)."}, []string{"of", "result"}),
		updates: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "update_seconds", Help: "Time of updates that have ended, by strategy and outcome.", Buckets: updateBuckets}, []string{"strategy", "outcome"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "update_step_seconds", Help: "Time in each step of updates that have ended.", Buckets: updateBuckets}, []string{"step"}),
	}
	for _, reason := range commitFailures {
		m.failed.WithLabelValues(reason)
	}
	for _, of := range []string{ofCandidate, ofServing} {
		for _, result := range []string{resultAccepted, resultRefused, resultUnanswered} {
			m.attestations.WithLabelValues(of, result)
		}
	}
	m.registry.MustRegister(m.commits, m.failed, m.attestations, m.updates, m.steps, &m.followed)
	return m
}

// Registry has the metrics.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v int, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}
