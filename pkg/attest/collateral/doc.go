// Package collateral gets what the vendors publish beside evidence: AMD's
// certificates and revocation lists (KDS), Intel's TCB info, QE identity and lists
// (PCS), NVIDIA's RIMs and OCSP responses.
//
// A [Request] says what is wanted; making one is pure. A [Getter] gets it: [HTTP]
// from the services that its config names and from nowhere else, [Retry] with
// patience, [Cache] from a folder as long as the document lasts, and beyond that
// for as long as the caller allows while the vendor's service is out of order.
//
// Nothing here is believed: documents are checked for being what was asked, so
// that an error page is not kept for a certificate, and judged by the verifiers.
// The folder has the layout that `casemate attest verify` takes.
//
// Sources, cited in comments:
//   - KDS: AMD "Versioned Chip Endorsement Key (VCEK) Certificate and KDS
//     Interface Specification", 57230.
//   - PCS: Intel "Provisioning Certification Service" API version 4.
package collateral
