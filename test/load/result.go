package main

import (
	"slices"
	"time"
)

// result is what was measured of one size.
type result struct {
	Hosts, Containers int
	Store             string
	// Load is the machine's load average of a minute before and after: what else it
	// did. CPU times mean more than others where that is above the number of CPUs.
	Load [2]float64
	// Seeded is how long the records took to write.
	Seeded time.Duration
	// HostBytes and ContainerBytes are resident memory per host and per container
	// after a collection; Live are the heap and stacks of the same, without what
	// the allocator keeps. RecordBytes is what the store itself holds of each
	// container, if it is in memory.
	HostBytes, HostLive           float64
	ContainerBytes, ContainerLive float64
	RecordBytes                   float64
	// Connected is the time until hosts without enclaves were ready, Recovered
	// that until all were ready and all unfinished updates had gone on, with every
	// container there. Quiet is when the agents' first words were all worked off.
	Connected, Ready, Resumed, Recovered, Quiet time.Duration
	RecoveredCPU                                time.Duration
	// RecoveredCommits are all that were made until then; an update makes about ten.
	RecoveredCommits int64
	Unfinished       int
	// IdleCPU is the share of one CPU used while nothing happens; PeakBytes the
	// most that was ever resident.
	IdleCPU   float64
	PeakBytes int64

	// Machine are those of a fixed piece of work that waits for nothing, as a
	// measure of how busy the machine is with other things. PlanCPU is the process
	// time for one plan, its client's part included.
	Machine        latencies
	PlanCPU        time.Duration
	Plan, BusyPlan latencies
	InFlight       flight
	Rate           rate
}

// latencies are those of a kind of call.
type latencies struct {
	Calls         int
	P50, P99, Max time.Duration
}

func summarize(took []time.Duration) latencies {
	if len(took) == 0 {
		return latencies{}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[min(int(q*float64(len(took))), len(took)-1)] }
	return latencies{Calls: len(took), P50: at(0.5), P99: at(0.99), Max: took[len(took)-1]}
}

// flight is what became of updates that were all in flight at once.
type flight struct {
	Updates, Succeeded, Missed int
	// Held is how many were at the same step at one moment.
	Held int
	// Started is how long it took to start them, Ended from the end of their boots
	// until all had ended.
	Started, Ended time.Duration
	// Nearest is the largest part of its time that any step took, from 0 to 1.
	Nearest float64
}

// rate is the throughput of updates.
type rate struct {
	Updates   int
	PerSecond float64
	// CPU is the process time for one update, with that of its client and of the
	// plans made meanwhile.
	CPU time.Duration
}
