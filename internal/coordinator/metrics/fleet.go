package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/casemate-dev/casemate/internal/coordinator/fleet"
)

// Live is what is asked of the coordinator's parts when somebody looks.
type Live struct {
	// Fleet counts hosts and GPUs.
	Fleet func() fleet.Census
	// Gateways counts the gateways that updates wait for, Streams the watches and
	// logs that are open.
	Gateways, Streams func() int
}

// Watch adds what l tells to the metrics; once.
func (m *Metrics) Watch(l Live) { m.registry.MustRegister(&liveCollector{l}) }

var (
	descHosts    = describe("hosts", "Hosts, by state.", "state")
	descCordoned = describe("hosts_cordoned", "Hosts on which nothing new is placed because somebody said so.")
	descGPUs     = describe("gpus", "GPUs as the agents tell, by state: free, used, faulty, or unknown on hosts that are not ready.", "state")
	descReserved = describe("gpus_reserved", "GPUs promised to enclaves that have not claimed them yet; they count as free, too.")
	descGateways = describe("gateways", "Gateways whose acknowledgement updates wait for.")
	descStreams  = describe("streams_open", "Watches and logs that clients follow.")
)

type liveCollector struct{ Live }

// Describe implements prometheus.Collector.
func (c *liveCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHosts, descCordoned, descGPUs, descReserved, descGateways, descStreams} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *liveCollector) Collect(out chan<- prometheus.Metric) {
	n := c.Fleet()
	for _, s := range []fleet.Status{fleet.Joining, fleet.Ready, fleet.Unreachable, fleet.Refused} {
		gauge(out, descHosts, n.Hosts[s], string(s))
	}
	gauge(out, descCordoned, n.Cordoned)
	gauge(out, descGPUs, n.FreeGPUs, "free")
	gauge(out, descGPUs, n.UsedGPUs, "used")
	gauge(out, descGPUs, n.FaultyGPUs, "faulty")
	gauge(out, descGPUs, n.UnknownGPUs, "unknown")
	gauge(out, descReserved, n.ReservedGPUs)
	gauge(out, descGateways, c.Gateways())
	gauge(out, descStreams, c.Streams())
}
