// Package attest turns evidence into a verdict: the offline, strict verifier of
// confidential VMs and GPUs.
//
// The packages beneath it each know one kind of evidence and report every check they
// make, by name, into a [Verdict]; the examples here verify one of each:
//
//   - sevsnp, tdx: reports and quotes of CPUs. nvidia: GPUs and NVSwitches.
//   - policy: what is accepted, one YAML file for all of them.
//   - collateral: gets what the vendors publish, and keeps it in a folder.
//   - measure: what a machine will say of itself, computed before it is started.
//   - judge, evidence: an enclave of Casemate's as a whole, its TLS key included.
//
// Nothing here touches the network but collateral's HTTP getter: certificates,
// collateral and revocation lists are handed in by the caller, and so is the time. A
// Verifier keeps what it has verified of chains and collateral, and is safe for
// concurrent use: make one and keep it.
//
// An accepted verdict says what its policy compared and no more: look at
// [Verdict.NotPinned] and [Verdict.Insecure], and have the evidence made over a nonce of
// your own. A policy that leaves out a measurement, a binding or a floor accepts nothing.
package attest
