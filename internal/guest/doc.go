// Package guest is the inside of an enclave: it checks what it was given against
// what was measured, starts the containers, ends TLS with a key that never
// leaves, shows evidence, takes secrets once, and proxies.
//
// What the host hands in is input from an adversary. The config must have the
// measured digest; the platform part must have the digest that the hardware
// reports; requests, secrets and nonces are bounded in size and time. The real
// machine and the simulated one differ only in Runtime, EvidenceSource and
// GPUCount.
package guest
