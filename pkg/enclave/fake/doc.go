// Package fake is the backend for machines without the hardware: each enclave is
// the real guest, run as a process of its own that outlives the agent, with
// evidence that proves nothing.
//
// All that is known of an enclave is in its folder (package guestdir) and in the
// kernel: the guest's process inherits a locked file, so that the lock says for
// certain whether it lives, through restarts of the agent and without trust in a
// process id. Its end is an event (a pidfd), and so is its endpoint (inotify).
package fake
