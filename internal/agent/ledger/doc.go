// Package ledger is the durable record of claims: which enclave holds which
// GPUs, NVSwitches, vCPUs and memory of this host.
//
// A claim is on disk before hardware is touched and stays there until the
// caller knows that its enclave is gone. "Free" is what the ledger says, never
// what a driver binding suggests. After Open nothing can be claimed until
// Reconcile has compared the record with what exists, because the record may
// be from before a reboot, damaged, or missing.
package ledger
