// Package rpc is what the daemons' gRPC servers and clients have in common: one
// chain for every call, errors that say what to do, listening, and dialing.
package rpc
