// Package api is the coordinator's gRPC surface: it checks what the proto's own
// rules can't, asks the planner and the runner, and shows records as messages.
package api
