// Package execsigner signs with a program: that of an HSM, a cloud's key service, or
// a few lines of shell around its command line. The private key stays where it is.
//
// The program is run twice, with its own arguments and one or two more:
//
//	PROGRAM ARG… public-key
//	PROGRAM ARG… sign HASH
//
// The first writes the public key to stdout, PEM, as openssl pkey -pubout does:
// ed25519, or ECDSA on P-256 or P-384. The second reads stdin to its end and writes
// the signature over it to stdout, as raw bytes and nothing else. HASH says what is
// on stdin, and follows from the key alone:
//
//	sha256  32 bytes, a SHA-256 digest, for P-256: sign the digest, don't hash again
//	sha384  48 bytes, a SHA-384 digest, for P-384: likewise
//	none    the message itself, at most 2 MiB, for ed25519
//
// An ECDSA signature is the DER of ECDSA-Sig-Value (RFC 3279, 2.2.3), an ed25519
// signature its 64 bytes. The program ends with 0, or says on stderr why not. It has
// this process's environment and no terminal, so that it can't ask a person. Its time
// and its answers are bounded, what it started ends with it, and a signature that
// doesn't verify under the key is not used.
package execsigner
