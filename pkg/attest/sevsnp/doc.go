// Package sevsnp verifies AMD SEV-SNP attestation reports offline: the report's
// form, the chain from AMD's root key (ARK) through the ASK or ASVK to the VCEK or
// VLEK that signed it, revocation, the TCB and chip the certificate speaks of, the
// signature, and what a [Policy] demands of the contents.
//
// Milan, Genoa (with Bergamo and Siena, which use Genoa's keys) and Turin are
// known, report versions 2 to 5, certificates in DER or PEM. Time is an argument,
// the network is never touched.
//
// The examples of package attest verify a report with a policy file.
//
// A report's bytes are no identity: ECDSA signatures can be changed without the
// key into other valid ones (r, n-s). Whoever needs a replay key takes REPORT_DATA
// or REPORT_ID.
//
// Sources, cited as ABI, KDS and APM in comments:
//   - ABI: AMD "SEV Secure Nested Paging Firmware ABI Specification", 56860, revision 1.58.
//   - KDS: AMD "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface
//     Specification", 57230.
package sevsnp
