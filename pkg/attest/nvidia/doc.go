// Package nvidia verifies the attestation evidence of NVIDIA GPUs (Hopper,
// Blackwell) and NVSwitches (LS10), offline and in pure Go.
//
// A device signs an SPDM 1.1 measurement report over the caller's nonce. The key
// is certified by a chain of five certificates that ends in NVIDIA's Device
// Identity CA. What the measurements ought to be stands in reference integrity
// manifests (RIMs), which NVIDIA signs as XML documents under another root, and
// whether a certificate was revoked in OCSP responses. Everything is handed in by
// the caller; nothing here opens a connection.
//
//	evidence, err := nvidia.ParseEvidence(document)
//	verdict := verifier.Verify(evidence, rims, ocsp, policy, nonce, time.Now())
//
// Package attest has this as an example that runs.
//
// Every check has a stable name, listed in docs/attestation-checks.md.
package nvidia
