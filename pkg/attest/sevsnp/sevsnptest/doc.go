// Package sevsnptest makes SEV-SNP evidence that endorses no hardware: reports in the
// real format, signed under a root key of one's own. Fake enclaves use it, and tests.
//
// The root's subject carries [sevsnp.SimulatedMark], so a verifier that trusts it
// marks every verdict, and only a policy with allow_simulated accepts the evidence.
package sevsnptest
