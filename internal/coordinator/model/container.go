package model

import "time"

// ContainerStatus is what a user sees of a container.
type ContainerStatus string

// The statuses of docs/updates.md.
const (
	Deploying ContainerStatus = "DEPLOYING"
	Running   ContainerStatus = "RUNNING"
	Failed    ContainerStatus = "FAILED"
	Stopping  ContainerStatus = "STOPPING"
	Stopped   ContainerStatus = "STOPPED"
	Deleting  ContainerStatus = "DELETING"
)

// ContainerKey names a container. Its text form is org/name.
type ContainerKey struct {
	Org  string `json:"org"`
	Name string `json:"name"`
}

// String returns org/name.
func (k ContainerKey) String() string { return k.Org + "/" + k.Name }

// ContainerSpec is what a user chooses.
type ContainerSpec struct {
	Repository string            `json:"repository"`
	Tag        string            `json:"tag"`
	Variables  map[string]string `json:"variables,omitempty"`
	Secrets    []string          `json:"secrets,omitempty"`
	Debug      bool              `json:"debug,omitempty"`
	SSHKeys    []string          `json:"ssh_keys,omitempty"`
	Domain     string            `json:"domain"`
	Host       string            `json:"host,omitempty"`
}

// EnclaveRef says which enclave runs which revision where.
type EnclaveRef struct {
	ID       string   `json:"id"`
	Host     string   `json:"host"`
	Revision int64    `json:"revision"`
	Tag      string   `json:"tag,omitempty"`
	Commit   string   `json:"commit,omitempty"`
	Endpoint string   `json:"endpoint,omitempty"`
	Insecure []string `json:"insecure,omitempty"`
	// Release is the number of the release's manifest; 0 for an unsigned one.
	Release uint64    `json:"release,omitempty"`
	Room    Room      `json:"room"`
	Since   time.Time `json:"since,omitzero"`
}

// Room is an amount of a host's resources. Memory is in MiB.
type Room struct {
	GPUs      int   `json:"gpus,omitempty"`
	CPUs      int   `json:"cpus,omitempty"`
	MemoryMiB int64 `json:"memory_mib,omitempty"`
}

// Plus returns the sum.
func (r Room) Plus(o Room) Room {
	return Room{r.GPUs + o.GPUs, r.CPUs + o.CPUs, r.MemoryMiB + o.MemoryMiB}
}

// Minus returns the difference, which may be negative.
func (r Room) Minus(o Room) Room {
	return Room{r.GPUs - o.GPUs, r.CPUs - o.CPUs, r.MemoryMiB - o.MemoryMiB}
}

// Container is what a user deploys and names.
type Container struct {
	Org    string          `json:"org"`
	Name   string          `json:"name"`
	UID    string          `json:"uid"`
	Spec   ContainerSpec   `json:"spec"`
	Status ContainerStatus `json:"status"`
	// Reason and Text say why it failed, or what else is to be known.
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text,omitempty"`
	// Active is the enclave that serves; nil if none does.
	Active *EnclaveRef `json:"active,omitempty"`
	// Unhealthy says that the active enclave's health check fails now.
	Unhealthy bool `json:"unhealthy,omitempty"`
	// Silent is set while the host of what serves does not answer.
	Silent *Silence `json:"silent,omitempty"`
	// Distrusted is the enclave that the route was taken from because its evidence was
	// refused: it gets no traffic again.
	Distrusted string `json:"distrusted,omitempty"`
	// Leftovers are enclaves that were given up on while their host was away.
	Leftovers []EnclaveRef `json:"leftovers,omitempty"`
	// Update is the id of the update in progress, LastUpdate of the latest.
	Update     string `json:"update,omitempty"`
	LastUpdate string `json:"last_update,omitempty"`
	// Teardown is a stop or deletion in progress.
	Teardown *Teardown `json:"teardown,omitempty"`
	// The last numbers given out.
	Revisions int64 `json:"revisions"`
	Attempts  int64 `json:"attempts"`
	Updates   int64 `json:"updates"`
	Events    int64 `json:"events"`
	// Release is the highest number of a release that has served.
	Release uint64 `json:"release,omitempty"`
	// Restart is set while the enclave that served has died and is to be started
	// again, and remembers how often it was.
	Restart *Restart `json:"restart,omitempty"`
	// StartTimeout and HealthWait are those with which what serves was started.
	StartTimeout time.Duration `json:"start_timeout,omitempty"`
	HealthWait   time.Duration `json:"health_wait,omitempty"`
	// Boots are the durations of the last boots to health, newest first.
	Boots   []time.Duration `json:"boots,omitempty"`
	Created time.Time       `json:"created"`
	Updated time.Time       `json:"updated"`
}

// Key names the container.
func (c *Container) Key() ContainerKey { return ContainerKey{c.Org, c.Name} }

// Silence is that of a host that does not answer.
type Silence struct {
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// TeardownKind tells a stop from a deletion.
type TeardownKind string

// The kinds of teardown. A deletion may take over from a stop, not the reverse.
const (
	TeardownStop   TeardownKind = "STOP"
	TeardownDelete TeardownKind = "DELETE"
)

// TeardownStep is where a teardown is.
type TeardownStep string

// The steps of a teardown, in order.
const (
	// TeardownAwaitUpdate waits for the update in progress to be cancelled or,
	// after its switch, to end.
	TeardownAwaitUpdate TeardownStep = "AWAIT_UPDATE"
	// TeardownCloseRoute refuses new connections and waits for the gateways.
	TeardownCloseRoute TeardownStep = "CLOSE_ROUTE"
	// TeardownDrain lets connections finish.
	TeardownDrain TeardownStep = "DRAIN"
	// TeardownStopEnclave stops the enclave and waits for the proof.
	TeardownStopEnclave TeardownStep = "STOP_ENCLAVE"
	// TeardownDNS withdraws the domain (deletion only).
	TeardownDNS TeardownStep = "DNS"
	// TeardownDone is the end: the records of a deleted container go with it.
	TeardownDone TeardownStep = "DONE"
)

// Teardown is a stop or deletion in progress.
type Teardown struct {
	Kind     TeardownKind `json:"kind"`
	Step     TeardownStep `json:"step"`
	Deadline time.Time    `json:"deadline"`
	// Left counts connections to the enclave that are open while it drains.
	Left int64 `json:"left,omitempty"`
}

// Restart is the starting again of an enclave that died by itself.
type Restart struct {
	// Ref is the enclave that died: its revision and room are wanted again.
	Ref EnclaveRef `json:"ref"`
	// Attempts counts the starts since the container last served for long.
	Attempts int `json:"attempts"`
	// At is when the next start is due; zero while one is in progress, or none is.
	At time.Time `json:"at,omitzero"`
	// Asked says that the planner was asked for a place and has not answered.
	Asked bool `json:"asked,omitempty"`
}
