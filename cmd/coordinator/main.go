// Command coordinator keeps what is wanted and drives updates.
package main

import (
	"os"

	"github.com/casemate-dev/casemate/internal/coordinator"
	"github.com/casemate-dev/casemate/internal/daemon"
)

func main() {
	os.Exit(daemon.Command[coordinator.Config]{
		Name: "coordinator", EnvPrefix: coordinator.EnvPrefix,
		ConfigPath: "/etc/casemate/coordinator.yaml", Run: coordinator.Run,
	}.Main(os.Args[1:], os.Stdout, os.Stderr))
}
