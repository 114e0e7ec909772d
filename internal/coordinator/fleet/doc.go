// Package fleet is the coordinator's side of the agents: one session a host,
// which keeps what the agent says, and the calls made to it. Everything here is
// the agents' word; what was promised to enclaves stands beside it, so that the
// planner never gives the same room twice.
package fleet
