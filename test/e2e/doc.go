// Package e2e tests the whole system as its users meet it: real daemons as
// processes, real gRPC, the real command line, clients that connect through the
// gateway. Only the GPUs and the machines' hardware are simulated.
//
// The binaries come from the folder named by CASEMATE_BIN, and grpcurl from
// CASEMATE_GRPCURL; what is not given is built first.
package e2e
