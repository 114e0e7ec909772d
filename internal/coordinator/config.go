package coordinator

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/attestation"
	"github.com/casemate-dev/casemate/internal/coordinator/engine"
	"github.com/casemate-dev/casemate/internal/coordinator/releases"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// EnvPrefix begins the environment variables that override the file.
const EnvPrefix = "CASEMATE_COORDINATOR"

// Config is the coordinator's configuration file.
type Config struct {
	// StateDir holds the store.
	StateDir string `yaml:"state_dir"`
	Listen   Listen `yaml:"listen"`
	// Admin is where metrics are shown, host:port; empty for nowhere.
	Admin string `yaml:"admin"`
	// BaseDomain ends the domains of containers that name none.
	BaseDomain string `yaml:"base_domain"`
	// SecretsKey is the file or systemd credential with the master key.
	SecretsKey string `yaml:"secrets_key"`
	Policy     Policy `yaml:"policy"`
	// Attestation says which evidence is accepted.
	Attestation attestation.Config `yaml:"attestation"`
	Git         Git                `yaml:"git"`
	// Releases says by whose signature a release may be deployed.
	Releases Releases `yaml:"releases"`
	Limits   Limits   `yaml:"limits"`
	Restarts Restarts `yaml:"restarts"`
	Reaper   Reaper   `yaml:"reaper"`
}

// Listen says where the API is served.
type Listen struct {
	// Local is a unix socket, unix:///path.
	Local string `yaml:"local"`
	// TCP is host:port; empty serves the socket only.
	TCP string `yaml:"tcp"`
}

// Policy says what is trusted.
type Policy struct {
	// Profiles are the CVM profiles on which enclaves may run: sev-snp, tdx, none.
	Profiles []string `yaml:"profiles"`
	// AllowInsecure names insecure modes that are accepted: simulated, debug,
	// unsigned.
	AllowInsecure []string `yaml:"allow_insecure"`
	// Rejudge is between two judgements of the evidence of an enclave that serves.
	Rejudge time.Duration `yaml:"rejudge"`
	// OnRefused says what becomes of an enclave that is refused then: close takes its
	// route away, report only tells.
	OnRefused string `yaml:"on_refused"`
}

// The words of Policy.OnRefused.
const (
	refusedClose  = "close"
	refusedReport = "report"
)

// Git says which repositories may be named.
type Git struct {
	// LocalPaths allows repositories on the coordinator's own disk.
	LocalPaths bool `yaml:"local_paths"`
	// Timeout bounds one resolution.
	Timeout time.Duration `yaml:"timeout"`
	// SSHKey is the file of the private key for repositories over ssh, KnownHosts
	// that of the hosts' keys. Without a key no ssh repository is taken.
	SSHKey     string `yaml:"ssh_key"`
	KnownHosts string `yaml:"known_hosts"`
	// HTTPSToken is a file with the token, HTTPSUser the name that goes with it and
	// HTTPSHost the only host that is given it, and from which https repositories
	// are then taken.
	HTTPSToken string `yaml:"https_token"`
	HTTPSUser  string `yaml:"https_user"`
	HTTPSHost  string `yaml:"https_host"`
}

// Limits are how long the steps of an update may take.
type Limits struct {
	Pending time.Duration `yaml:"pending"`
	Started time.Duration `yaml:"started"`
	// Silent is how long a candidate waits for a host that doesn't answer, before it
	// is placed on another.
	Silent      time.Duration `yaml:"silent"`
	Ack         time.Duration `yaml:"ack"`
	Drain       time.Duration `yaml:"drain"`
	Stop        time.Duration `yaml:"stop"`
	StopMargin  time.Duration `yaml:"stop_margin"`
	Free        time.Duration `yaml:"free"`
	Hold        time.Duration `yaml:"hold"`
	Teardown    time.Duration `yaml:"teardown"`
	RouteHold   time.Duration `yaml:"route_hold"`
	RequestKeep time.Duration `yaml:"request_keep"`
}

// Restarts says how what has died by itself is started again.
type Restarts struct {
	// Attempts is how many are made before the container is FAILED; with 0 nothing
	// is started again.
	Attempts int `yaml:"attempts"`
	// Pause is the time before the first; it doubles each time, up to MaxPause.
	Pause    time.Duration `yaml:"pause"`
	MaxPause time.Duration `yaml:"max_pause"`
	// Steady is how long it must have served for the count to begin anew.
	Steady time.Duration `yaml:"steady"`
}

// maxAttempts bounds Restarts.Attempts.
const maxAttempts = 1000

// Reaper says when what nobody wants is stopped.
type Reaper struct {
	Every time.Duration `yaml:"every"`
	Grace time.Duration `yaml:"grace"`
	Keep  time.Duration `yaml:"keep"`
}

// SetDefaults fills in what a file need not say.
func (c *Config) SetDefaults() {
	l := engine.DefaultLimits()
	*c = Config{
		StateDir:   "/var/lib/casemate/coordinator",
		Listen:     Listen{Local: "unix:///run/casemate/coordinator.sock"},
		SecretsKey: "secrets-key",
		Policy:     Policy{Profiles: []string{"sev-snp", "tdx"}, Rejudge: time.Hour, OnRefused: refusedClose},
		Git:        Git{Timeout: time.Minute, HTTPSUser: "git"},
		Limits: Limits{
			Pending: l.Pending, Started: l.Started, Ack: l.Ack, Drain: l.Drain, Stop: l.Stop,
			StopMargin: l.StopMargin, Free: l.Free, Hold: l.Hold, Teardown: l.Teardown,
			Silent: 2 * time.Minute, RouteHold: 10 * time.Minute, RequestKeep: 24 * time.Hour,
		},
		Restarts: Restarts{Attempts: l.Restarts, Pause: l.RestartPause, MaxPause: l.RestartMaxPause, Steady: l.Steady},
		Releases: Releases{Sigstore: Sigstore{Helper: "/usr/bin/casemate-sigstore", Timeout: sigstore.DefaultTimeout}},
		Reaper:   Reaper{Every: 30 * time.Second, Grace: 10 * time.Minute, Keep: time.Hour},
	}
}

var profiles = map[string]agentv1.CvmProfile{
	"none":    agentv1.CvmProfile_CVM_PROFILE_NONE,
	"sev-snp": agentv1.CvmProfile_CVM_PROFILE_SEV_SNP,
	"tdx":     agentv1.CvmProfile_CVM_PROFILE_TDX,
}

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	need := func(ok bool, key, text string) {
		if !ok {
			errs = append(errs, yamlconfig.Problem(key, "%s", text))
		}
	}
	need(c.StateDir != "", "state_dir", "is required: the folder for the store")
	need(c.Listen.Local != "", "listen.local", "is required: unix:///path of the local socket")
	if c.Admin != "" {
		_, port, err := net.SplitHostPort(c.Admin)
		need(err == nil && port != "", "admin", "must be host:port, such as 127.0.0.1:9444")
	}
	need(c.BaseDomain != "", "base_domain", "is required: containers without a domain of their own become <name>.<org>.<base domain>")
	need(c.SecretsKey != "", "secrets_key", "is required: a file or systemd credential with 32 bytes")
	need(len(c.Policy.Profiles) > 0, "policy.profiles", "must name at least one of sev-snp, tdx, none")
	for _, p := range c.Policy.Profiles {
		_, ok := profiles[p]
		need(ok, "policy.profiles", p+" is not one of sev-snp, tdx, none")
	}
	for _, m := range c.Policy.AllowInsecure {
		need(m == "simulated" || m == "debug" || m == releases.Unsigned, "policy.allow_insecure", m+" is not one of simulated, debug, unsigned")
	}
	need(c.Policy.Rejudge > 0, "policy.rejudge", "must be more than 0, such as 1h")
	need(c.Policy.OnRefused == refusedClose || c.Policy.OnRefused == refusedReport, "policy.on_refused", "must be close or report")
	if err := c.Attestation.Check("attestation.", c.allows("simulated")); err != nil {
		errs = append(errs, err)
	}
	c.Releases.validate(need)
	if _, err := c.Releases.policy(true); err != nil {
		errs = append(errs, err)
	}
	need(c.Git.SSHKey == "" || c.Git.KnownHosts != "", "git.known_hosts", "is required with ssh_key: a file such as ~/.ssh/known_hosts, made with ssh-keyscan and checked")
	need(c.Git.HTTPSToken == "" || c.Git.HTTPSHost != "", "git.https_host", "is required with https_token: the only host that is given the token")
	for key, d := range map[string]time.Duration{
		"limits.pending": c.Limits.Pending, "limits.started": c.Limits.Started, "limits.silent": c.Limits.Silent, "limits.ack": c.Limits.Ack,
		"limits.drain": c.Limits.Drain, "limits.stop": c.Limits.Stop, "limits.stop_margin": c.Limits.StopMargin,
		"limits.free": c.Limits.Free, "limits.hold": c.Limits.Hold, "limits.teardown": c.Limits.Teardown,
		"limits.route_hold": c.Limits.RouteHold, "limits.request_keep": c.Limits.RequestKeep,
		"restarts.pause": c.Restarts.Pause, "restarts.steady": c.Restarts.Steady,
		"reaper.every": c.Reaper.Every, "reaper.grace": c.Reaper.Grace, "reaper.keep": c.Reaper.Keep, "git.timeout": c.Git.Timeout,
	} {
		need(d > 0, key, "must be more than 0, such as 30s")
	}
	need(c.Restarts.Attempts >= 0 && c.Restarts.Attempts <= maxAttempts, "restarts.attempts", fmt.Sprintf("must be from 0 (start nothing again) to %d", maxAttempts))
	need(c.Restarts.MaxPause >= c.Restarts.Pause, "restarts.max_pause", "must not be shorter than restarts.pause")
	return errors.Join(errs...)
}

func (c *Config) engineLimits() engine.Limits {
	l, r := c.Limits, c.Restarts
	return engine.Limits{
		Pending: l.Pending, Started: l.Started, Ack: l.Ack, Drain: l.Drain, Stop: l.Stop,
		StopMargin: l.StopMargin, Free: l.Free, Hold: l.Hold, Teardown: l.Teardown,
		RestartPause: r.Pause, RestartMaxPause: r.MaxPause, Restarts: r.Attempts, Steady: r.Steady,
	}
}

func (c *Config) profiles() []agentv1.CvmProfile {
	var out []agentv1.CvmProfile
	for _, p := range c.Policy.Profiles {
		out = append(out, profiles[p])
	}
	return out
}

func (c *Config) allows(mode string) bool {
	return slices.Contains(c.Policy.AllowInsecure, mode)
}
