// Package guestapi is what the guest and those who call it say to each other:
// paths, bounds, the boot status and the refusal, as JSON over TLS 1.3.
package guestapi

import "time"

// The guest's own paths. All that begins with Prefix is the guest's; everything
// else goes to the upstream container.
const (
	// Prefix is where the guest's own paths begin.
	Prefix = "/.well-known/casemate/"
	// BootPath answers GET with a BootStatus.
	BootPath = Prefix + "boot"
	// AttestationPath answers GET with an evidence document over ?nonce=.
	AttestationPath = Prefix + "attestation"
	// SecretsPath takes POST of a signed message, once.
	SecretsPath = Prefix + "secrets"
)

// Query parameters of BootPath: with after=VERSION the answer waits until the
// version is greater, wait=SECONDS at most.
const (
	AfterParam = "after"
	WaitParam  = "wait"
	NonceParam = "nonce"
)

// Bounds.
const (
	// MaxWait bounds a long poll.
	MaxWait = 30 * time.Second
	// MaxBoot is the largest boot status that is read.
	MaxBoot = 64 << 10
	// MaxRefusal is the largest refusal that is read.
	MaxRefusal = 16 << 10
	// MaxReason is how long a stage's reason is, in bytes.
	MaxReason = 1 << 10
	maxStages = 32
	maxName   = 32
)

// The boot stages, in order.
const (
	StageConfig     = "config"
	StageNetwork    = "network"
	StageIdentity   = "identity"
	StageEvidence   = "evidence"
	StageGPU        = "gpu"
	StageSecrets    = "secrets"
	StageImages     = "images"
	StageContainers = "containers"
	StageHealth     = "health"
)

// Stages returns the names of the boot stages in order.
func Stages() []string {
	return []string{
		StageConfig, StageNetwork, StageIdentity, StageEvidence, StageGPU,
		StageSecrets, StageImages, StageContainers, StageHealth,
	}
}

// Codes of refusals.
const (
	// CodeNotReady: the enclave is still booting; the stage says where it is.
	CodeNotReady = "NOT_READY"
	// CodeStopping: the enclave is powering off.
	CodeStopping = "STOPPING"
	// CodeBusy: too many requests of this kind at once; try again.
	CodeBusy = "BUSY"
	// CodeInvalid: the request can't be understood.
	CodeInvalid = "INVALID_REQUEST"
	// CodeNotFound: nothing is served at this path.
	CodeNotFound = "NOT_FOUND"
	// CodeOrigin: the browser origin may not call.
	CodeOrigin = "ORIGIN_REFUSED"
	// CodeUnauthenticated: an API key is needed and none is accepted.
	CodeUnauthenticated = "UNAUTHENTICATED"
	// CodeRateLimited: the caller sends more than the config allows.
	CodeRateLimited = "RATE_LIMITED"
	// CodeUpstream: the upstream container did not answer.
	CodeUpstream = "UPSTREAM_FAILED"
	// CodeEvidence: no report could be had from the hardware.
	CodeEvidence = "EVIDENCE_FAILED"
	// CodeSecretsUnsigned: the message is not signed by the platform's key.
	CodeSecretsUnsigned = "SECRETS_UNSIGNED"
	// CodeSecretsForeign: the message is for another enclave or attestation.
	CodeSecretsForeign = "SECRETS_FOREIGN"
	// CodeSecretsUndeclared: the names are not those that are awaited.
	CodeSecretsUndeclared = "SECRETS_UNDECLARED"
	// CodeSecretsTaken: secrets were delivered already, or none are awaited.
	CodeSecretsTaken = "SECRETS_TAKEN"
	// CodeTooLarge: the body is larger than is read.
	CodeTooLarge = "TOO_LARGE"
)
