// Package manifest makes, signs and checks the manifest of a release: which commit
// and config it is, which images it runs, and what the evidence of an enclave that
// runs it will say, on every platform and shape.
//
// A manifest is canonical JSON: Parse takes exactly the bytes that Encode writes.
// It travels in a DSSE envelope (https://github.com/secure-systems-lab/dsse,
// version 1), signed by an ed25519 or ECDSA key behind crypto.Signer, so that the
// key may lie in a file, an HSM or a cloud's key service. Verify opens an envelope
// under trusted keys and compares the manifest with the release that is to be
// deployed; every refusal has a [Reason].
package manifest
