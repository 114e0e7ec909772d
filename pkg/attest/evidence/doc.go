// Package evidence is the document in which an enclave proves what it is: the
// strict JSON that the guest serves at /.well-known/casemate/attestation, the
// digests that bind its parts together, and the checks that do not depend on
// the kind of hardware that signed.
//
// A document names four digests and carries a report. The report, signed by the
// CPU, holds REPORTDATA = SHA-512 over the nonce, the TLS key and the device
// evidence ([ReportData]), and the digest of the platform part as HOST_DATA or
// MRCONFIGID. Every other field of the document is a claim of its sender until
// a check has compared it with the report or with what the caller expects.
package evidence
