// Package simulated is the evidence of enclaves without a TEE: a report in the
// shape of a real one that nobody signed.
//
// It proves nothing. Anybody can make one, so that machines without hardware go
// through the same steps as machines with it. A verifier accepts it only where
// the policy names it, and the verdict carries the mark "simulated" wherever it
// goes.
package simulated
