package agentd

import (
	"log/slog"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// feedWatchdog returns what feeds the service manager's watchdog, if there is
// one: sd_notify(3), WATCHDOG=1. It is called after a pass of the agent's host
// loop that ended with a self-check, and from nowhere else.
func feedWatchdog(log *slog.Logger) func() {
	return func() {
		if _, err := systemd.SdNotify(false, systemd.SdNotifyWatchdog); err != nil {
			log.Warn("watchdog not fed", "error", err)
		}
	}
}
