// Package tdxtest makes TDX quotes and collateral of real format under a root of
// its own, for tests and for enclaves that run without TDX hardware.
//
// A [PKI] stands in for Intel: root, PCK CA, TCB signing. It issues a [Platform]
// its PCK certificate; the platform signs quotes of any content. Only a verifier
// that was given the PKI's root accepts them, and its verdict carries the mark
// foreign_root.
package tdxtest
