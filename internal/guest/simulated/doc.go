// Package simulated is the machine around a guest where there is no machine: a
// runtime whose containers are small HTTP servers in this process, evidence that
// simulated vendors signed, and the faults that tests ask for. The guest inside is the real
// one.
package simulated
