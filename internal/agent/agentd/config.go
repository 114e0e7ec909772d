// Package agentd makes an agent from its configuration file and runs it as a
// service: listeners, readiness, watchdog, stop.
package agentd

import (
	"time"

	"github.com/casemate-dev/casemate/internal/attestation"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

// EnvPrefix begins the environment variables that override the file.
const EnvPrefix = "CASEMATE_AGENT"

// Config is the configuration file; deploy/agent.example.yaml shows every key.
type Config struct {
	// Name is the host's name; the machine's own by default.
	Name string `yaml:"name"`
	// StateDir is the folder of all that survives a restart.
	StateDir string `yaml:"state_dir"`
	// Listen says where the API is served.
	Listen Listen `yaml:"listen"`
	// Admin is where metrics are shown, host:port; empty for nowhere.
	Admin string `yaml:"admin"`
	// ClusterID pins the cluster to follow; empty follows the first that calls.
	ClusterID string `yaml:"cluster_id"`
	// Profile is none, sev-snp or tdx.
	Profile string `yaml:"profile"`
	// Backend says how enclaves are booted.
	Backend Backend `yaml:"backend"`
	// Capacity says what enclaves may use.
	Capacity Capacity `yaml:"capacity"`
	// GPU says what may be done to the GPUs.
	GPU GPU `yaml:"gpu"`
	// Attestation says which evidence is accepted.
	Attestation attestation.Config `yaml:"attestation"`
	// AllowInsecure lists simulated and debug.
	AllowInsecure []string `yaml:"allow_insecure"`
	// Intervals are times that may be changed.
	Intervals Intervals `yaml:"intervals"`
}

// Listen says where the API is served; at least one of both.
type Listen struct {
	// Local is a unix socket: unix:///run/casemate/agent.sock.
	Local string `yaml:"local"`
	// TCP is host:port.
	TCP string `yaml:"tcp"`
}

// Backend says how enclaves are booted.
type Backend struct {
	// Kind is fake.
	Kind string `yaml:"kind"`
	// Fake is for Kind fake.
	Fake Fake `yaml:"fake"`
}

// Fake runs enclaves as plain processes, with GPUs that a file describes.
type Fake struct {
	// Guest is the guest's binary.
	Guest string `yaml:"guest"`
	// Dir is the enclaves' folder; fake within StateDir by default.
	Dir string `yaml:"dir"`
	// ListenHost is the address on which guests listen.
	ListenHost string `yaml:"listen_host"`
	// Vendor is the folder of the simulated vendors that sign the enclaves' evidence;
	// vendor within StateDir by default. It is made if it isn't there.
	Vendor string `yaml:"vendor"`
	// TEE is what enclaves have evidence of: sev-snp, tdx, or none for a mark that
	// nobody signs.
	TEE string `yaml:"tee"`
	// HostFile describes the GPUs; empty means none.
	HostFile string `yaml:"host_file"`
	// Faults are settings by container: see package faults.
	Faults map[string]map[string]string `yaml:"faults"`
}

// Capacity says what enclaves may use. What is 0 is asked of the machine.
type Capacity struct {
	// CPUs and MemoryMiB are what the host has.
	CPUs      int   `yaml:"cpus"`
	MemoryMiB int64 `yaml:"memory_mib"`
	// ReserveCPUs and ReserveMemoryMiB are kept for the host itself.
	ReserveCPUs      int   `yaml:"reserve_cpus"`
	ReserveMemoryMiB int64 `yaml:"reserve_memory_mib"`
}

// GPU says what may be done to the GPUs.
type GPU struct {
	// SwitchModes permits changing the mode of all GPUs while nobody holds one.
	SwitchModes bool `yaml:"switch_modes"`
}

// Intervals are times that may be changed; 0 leaves the default.
type Intervals struct {
	// Inventory is between two looks at the GPUs.
	Inventory time.Duration `yaml:"inventory"`
	// Observe is between two looks at an enclave that no event caused.
	Observe time.Duration `yaml:"observe"`
	// Poll is how long a guest is asked to wait for news, Call how long it may take
	// to answer beyond that, Silent how long its answers may be missing.
	Poll   time.Duration `yaml:"poll"`
	Call   time.Duration `yaml:"call"`
	Silent time.Duration `yaml:"silent"`
	// Boot is how long a guest may take to give good evidence, BootPerGiB is added
	// for each GiB of memory.
	Boot       time.Duration `yaml:"boot"`
	BootPerGiB time.Duration `yaml:"boot_per_gib"`
	// Reattest is between two judgements of an enclave's evidence.
	Reattest time.Duration `yaml:"reattest"`
	// FailGrace is how long the guest of a failed enclave may take to power off.
	FailGrace time.Duration `yaml:"fail_grace"`
}

// Load reads the file, the environment over it, and checks both.
func Load(path string) (Config, error) { return yamlconfig.Load[Config](path, EnvPrefix) }
