package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxRouteSeries bounds the routes that have a time series of their own; a
// larger table is seen in the admin listing only.
const maxRouteSeries = 1000

const metricPrefix = "casemate_gateway_"

// metrics counts what single connections do. What can be read from the state is
// collected when it is asked for.
type metrics struct {
	registry     *prometheus.Registry
	open         prometheus.Gauge
	total        [outcomes]prometheus.Counter
	hello        *prometheus.CounterVec
	batches      *prometheus.CounterVec
	connected    prometheus.Gauge
	acceptErrors prometheus.Counter
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		open:     gauge("connections_open", "Connections accepted and not ended."),
		hello: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "hello_failures_total", Help: "ClientHellos refused, by reason."}, []string{"reason"}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "route_batches_total", Help: "Batches of routes, by result."}, []string{"result"}),
		connected: gauge("coordinator_connected", "1 while the route source has sent a batch and is connected."),
		acceptErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricPrefix + "accept_errors_total", Help: "Accepts that failed for want of resources."}),
	}
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metricPrefix + "connections_total", Help: "Connections that have ended, by outcome."}, []string{"outcome"})
	for o, name := range outcomeNames {
		m.total[o] = total.WithLabelValues(name)
	}
	m.registry.MustRegister(m.open, total, m.hello, m.batches, m.connected, m.acceptErrors, &stateCollector{s})
	return m
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help})
}

// Descriptions of what stateCollector reports.
var (
	descHeld        = describe("held_waiting", "Connections that wait for a held route.")
	descBytes       = describe("bytes_total", "Bytes moved, by direction.", "direction")
	descRoutes      = describe("routes", "Routes in force.")
	descUnconfirmed = describe("routes_unconfirmed", "Routes served that the coordinator has not named since the start or left out of its last listing.")
	descEpoch       = describe("routes_epoch", "Epoch of the last batch applied.")
	descAge         = describe("routes_age_seconds", "Time since the last batch was applied; absent before the first.")
	descGeneration  = describe("route_generation", "Generation of a route in force.", "domain")
	descEnclave     = describe("enclave_connections", "Connections open to an enclave.", "enclave", "draining")
	descLeftOut     = describe("routes_file_faults", "Entries of the routes file left out at the start, or 1 for a file set aside.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(metricPrefix+name, help, labels, nil)
}

// stateCollector reports the routes and counts of a server.
type stateCollector struct{ s *Server }

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHeld, descBytes, descRoutes, descUnconfirmed, descEpoch,
		descAge, descGeneration, descEnclave, descLeftOut} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	one := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	routes := c.s.cfg.Routes
	t := routes.Table()
	up, down := c.s.live.bytes()
	out <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(up), "to_enclave")
	out <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(down), "to_client")
	one(descHeld, float64(c.s.holds.waiting.Load()))
	one(descRoutes, float64(t.Len()))
	one(descUnconfirmed, float64(len(t.unconfirmed)))
	one(descEpoch, float64(t.epoch))
	one(descLeftOut, float64(routes.badFiles))
	if at := routes.applied.Load(); at != 0 {
		one(descAge, time.Since(time.Unix(0, at)).Seconds())
	}
	if t.Len() <= maxRouteSeries {
		for domain, e := range t.entries {
			one(descGeneration, float64(e.route.Generation), domain)
		}
	}
	for _, n := range routes.Counts() {
		one(descEnclave, float64(n.Open), n.Enclave, boolLabel(n.Draining))
	}
}

func boolLabel(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
