// Command agent runs on every GPU host: it says what the host has, claims it for
// enclaves, boots them, and reports how they are.
package main

import (
	"os"

	"github.com/casemate-dev/casemate/internal/agent/agentd"
	"github.com/casemate-dev/casemate/internal/daemon"
)

func main() {
	os.Exit(daemon.Command[agentd.Config]{
		Name: "agent", EnvPrefix: agentd.EnvPrefix,
		ConfigPath: "/etc/casemate/agent.yaml", Run: agentd.Run,
	}.Main(os.Args[1:], os.Stdout, os.Stderr))
}
