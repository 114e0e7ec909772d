// Package attest turns evidence into a verdict: the offline, strict verifier of
// confidential VMs and GPUs.
//
// The packages beneath it each know one kind of evidence (sevsnp, tdx, nvidia)
// and report every check they make, by name, into a [Verdict]. Nothing here
// touches the network: certificates, collateral and revocation lists are handed
// in by the caller, through a getter where fetching is wanted.
package attest
