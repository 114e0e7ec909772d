// Package enclave boots, watches and stops the enclaves of one host.
//
// [Backend] is all the agent knows of how an enclave comes to be. Beneath this
// package, fake runs the real guest as a process for machines without hardware,
// and containerd runs a VM supervised by containerd. Both pass the contract in
// enclavetest.
//
// A backend holds no opinion: it claims no GPU, verifies no evidence and decides
// nothing. What exists on the host is the truth, and List tells it, whoever
// created it and however often the agent was restarted since.
package enclave
