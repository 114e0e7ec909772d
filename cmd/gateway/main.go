// Command gateway joins clients' connections to the enclaves that serve their
// domains, without decrypting them.
package main

import (
	"os"

	"github.com/casemate-dev/casemate/internal/daemon"
	"github.com/casemate-dev/casemate/internal/gateway/gatewayd"
)

func main() {
	os.Exit(daemon.Command[gatewayd.Config]{
		Name: "gateway", EnvPrefix: gatewayd.EnvPrefix,
		ConfigPath: "/etc/casemate/gateway.yaml", Run: gatewayd.Run,
	}.Main(os.Args[1:], os.Stdout, os.Stderr))
}
