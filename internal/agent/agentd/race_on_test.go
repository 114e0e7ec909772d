//go:build race

package agentd_test

// raceEnabled builds the agent as the test itself is built.
const raceEnabled = true
