// Package agent is the daemon on every GPU host: it says what the host has,
// claims it for enclaves, boots them through a backend, follows each and reports
// how it is. It decides nothing about where or when something runs.
//
// Each enclave has a monitor, one goroutine that owns its record and drives it
// from PREPARING to its end. What is claimed stands in the ledger before
// hardware is touched and is released once the backend proves that the enclave
// is gone. Restarting the agent stops nothing: at its start it adopts what the
// backend lists, and what it told before it tells again.
package agent
