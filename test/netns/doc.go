// Package netns holds tests that kill, stop and cut off real processes in the
// middle of updates under client load. Coordinator, agents, gateways and clients
// each run in a network namespace of their own: one network carries the calls
// between the parts, through a switch in this process that can delay and lose
// frames, another one the traffic of users, through the kernel's bridge.
//
// They need root and iproute2. Without root they fail, unless CASEMATE_NO_NETNS
// says that they are not to run.
package netns
