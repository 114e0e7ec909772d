// Package tdx verifies Intel TDX quotes, offline and strictly.
//
// It reads quotes of version 4 and 5 (Intel TDX DCAP Quoting Library API,
// appendices A.3 and A.4), follows their PCK chain to Intel's SGX Root CA, checks
// the quoting enclave, matches the platform and the TDX module against Intel's
// TCB info, and compares the TD's measurements with a [Policy]. Every check is
// reported by name into an [attest.Verdict]; docs/attestation-checks.md lists
// the names.
//
// Nothing here touches the network: TCB info, QE identity and revocation lists
// are handed in as [Collateral]. What has been verified once is kept by digest in
// the [Verifier], bounded, so that a further quote of the same platform costs one
// P-256 verification.
//
// The examples of package attest verify a quote with a policy file.
//
// A quote's bytes are no identity: signatures are malleable, and bytes after the
// signed data are ignored. Use the claim "signed_digest" to tell quotes apart.
package tdx
