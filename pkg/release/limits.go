package release

import "time"

// Bounds on a config file. Those on the spec are the limits of the schema that
// tinfoil-config.yml shares; those on the file keep a hostile one cheap.
const (
	// MaxFileBytes is the largest file that is read.
	MaxFileBytes = 1 << 20
	// MaxFaults is how many faults one ParseError lists.
	MaxFaults = 50
	// MaxWarnings is how many warnings Parse returns.
	MaxWarnings = 100
	// MaxContainers bounds containers.
	MaxContainers = 64
	// MaxDisks bounds models and volumes together.
	MaxDisks = 24
	// MaxNetworks bounds networks.
	MaxNetworks = 32
	// MaxInboundPorts bounds cvm-network.inbound-ports.
	MaxInboundPorts = 64
	// MaxGPUs bounds gpus: a host has eight.
	MaxGPUs = 8
	// DefaultPidsLimit is pids_limit where a container gives none.
	DefaultPidsLimit = 65536

	maxDepth      = 32
	maxNodes      = 16384
	maxScalar     = 64 << 10
	maxList       = 256
	maxAllow      = 256
	maxTmpfs      = 64
	maxTest       = 64
	maxCPUs       = 512
	minMemoryMiB  = 512
	maxMemoryMiB  = 4 << 20
	maxBytes      = int64(maxMemoryMiB) << 20
	maxOwner      = 65534
	maxName       = 63
	maxNetName    = 15
	maxEnvName    = 256
	maxHostname   = 253
	maxHealthTime = 24 * time.Hour
	maxStopTime   = time.Hour
	maxRetries    = 1000
)
