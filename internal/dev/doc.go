// Package dev runs a whole fleet on one machine, as separate processes over real
// gRPC, with fake GPUs and simulated enclaves: for the demo, for end-to-end
// tests, and for people who develop against the API.
package dev
