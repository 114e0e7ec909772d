package release

import "time"

// Container is one OCI container of the enclave. Beyond what the fields say, it
// runs with all capabilities dropped, no-new-privileges, and no network unless
// it names one.
type Container struct {
	// Name is unique among the containers.
	Name string
	// Image is the reference as written; it ends with its digest.
	Image string
	// ImageDigest is the digest of Image, sha256:<64 hex>.
	ImageDigest string
	// Entrypoint replaces the image's, if not nil.
	Entrypoint []string
	// Command replaces the image's, if not nil.
	Command []string
	// WorkingDir is an absolute path, or empty for the image's.
	WorkingDir string
	// User is uid, uid:gid, name or name:group, or empty for the image's.
	User string
	// Env is the environment, in the file's order; names are unique.
	Env []EnvVar
	// Secrets names the secrets given as environment variables.
	Secrets []string
	// Registry has the credentials for pulling Image; nil for none.
	Registry *Registry
	// Models names the models that only this container and others naming
	// them see. Empty means all models that nobody names.
	Models []string
	// Volumes are the mounted volumes.
	Volumes []Mount
	// Tmpfs are the mounted memory file systems.
	Tmpfs []Tmpfs
	// CapAdd is a subset of IPC_LOCK, NET_BIND_SERVICE, SYS_NICE.
	CapAdd []string
	// GPUs says which of the enclave's GPUs it sees; nil for none.
	GPUs *GPUSelection
	// Networks names the networks it is attached to; empty for none.
	Networks []string
	// Ports are published on the enclave.
	Ports []Port
	// IPC is private or none.
	IPC string
	// ShmBytes is the size of /dev/shm; 0 for the runtime's default.
	ShmBytes int64
	// MemoryBytes bounds its memory; 0 for no limit.
	MemoryBytes int64
	// MilliCPUs bounds its CPU time in thousandths of a CPU; 0 for no limit.
	MilliCPUs int64
	// PidsLimit bounds its processes; DefaultPidsLimit unless the file says
	// otherwise.
	PidsLimit int64
	// ReadOnly makes the root file system read-only; true by default.
	ReadOnly bool
	// Restart says what happens after an exit.
	Restart Restart
	// StopSignal is a signal's name, such as SIGTERM or SIGRTMIN+3.
	StopSignal string
	// StopTimeout is the time from StopSignal to the kill.
	StopTimeout time.Duration
	// Healthcheck gates readiness; nil means that running is healthy.
	Healthcheck *Healthcheck
}

// EnvVar is one environment variable.
type EnvVar struct {
	// Name matches [A-Za-z_][A-Za-z0-9_]*.
	Name string
	// Value is measured with the file; empty when Open.
	Value string
	// Open means that only the name is measured and the value comes from
	// outside: the container treats it as input from an adversary.
	Open bool
}

// Registry is how a private image is pulled.
type Registry struct {
	// Username is the account's name.
	Username string
	// PasswordSecret names the secret that holds its password or token.
	PasswordSecret string
}

// Mount puts a volume into a container.
type Mount struct {
	// Volume names one of Config.Volumes.
	Volume string
	// Target is a clean absolute path.
	Target string
	// ReadOnly is the option ro.
	ReadOnly bool
}

// Tmpfs is a file system in the enclave's memory. nosuid and nodev always hold.
type Tmpfs struct {
	// Target is a clean absolute path.
	Target string
	// SizeBytes bounds it; 0 for the kernel's default.
	SizeBytes int64
	// Mode is the permission bits of its root; 0 for 01777.
	Mode uint32
	// UID and GID own its root.
	UID, GID int
	// Exec permits running programs from it; false unless the file says exec.
	Exec bool
	// ReadOnly is the option ro.
	ReadOnly bool
}

// GPUSelection says which of the enclave's GPUs a container sees: all of them,
// the first Count, or those of Indices. Exactly one is set.
type GPUSelection struct {
	All     bool
	Count   int
	Indices []int
}

// Port publishes a container's TCP port on the enclave.
type Port struct {
	// Host is the enclave's port; never 443, 80 or 2222.
	Host uint16
	// Container is the container's port.
	Container uint16
}

// RestartPolicy says when a container that ended is started again.
type RestartPolicy string

// The restart policies.
const (
	RestartNo            RestartPolicy = "no"
	RestartAlways        RestartPolicy = "always"
	RestartOnFailure     RestartPolicy = "on-failure"
	RestartUnlessStopped RestartPolicy = "unless-stopped"
)

// Restart is a policy and its bound.
type Restart struct {
	// Policy is RestartNo unless the file says otherwise.
	Policy RestartPolicy
	// MaxRetries bounds RestartOnFailure; 0 means no bound.
	MaxRetries int
}

// Healthcheck is how a container's health is found out.
type Healthcheck struct {
	// Test begins with CMD or CMD-SHELL and has at least one word more, or is
	// the single word NONE.
	Test []string
	// Interval is the time between tests.
	Interval time.Duration
	// Timeout bounds one test.
	Timeout time.Duration
	// Retries is how many tests in a row must fail.
	Retries int
	// StartPeriod is how long failures after the start do not count.
	StartPeriod time.Duration
}
