package gateway

import (
	dto "github.com/prometheus/client_model/go"
)

// ends is how many connections have ended with the outcome.
func (g *gate) ends(o outcome) int {
	var m dto.Metric
	if err := g.metrics.total[o].Write(&m); err != nil {
		panic(err)
	}
	return int(m.GetCounter().GetValue())
}

// helloFailures is how many hellos were refused for the reason.
func (g *gate) helloFailures(reason string) int {
	var m dto.Metric
	if err := g.metrics.hello.WithLabelValues(reason).Write(&m); err != nil {
		panic(err)
	}
	return int(m.GetCounter().GetValue())
}
