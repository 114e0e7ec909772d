// Package gpu says which NVIDIA GPUs and NVSwitches a host has, in which state
// they are, and which of them an enclave may be given.
//
// A Snapshot is what an Inventory sees at one moment. Whether a card is free
// is never read from a driver binding: the caller passes in who holds which
// card. Offers and Allocate are pure functions over both, so that what a host
// offers and what it then gives can't disagree.
//
// Sources of the rules: NVIDIA, "Confidential Computing Deployment Guide" and
// "R580 TRD1 Release Notes" (docs.nvidia.com/confidential-computing).
package gpu
