package model

import (
	"slices"
	"strings"
	"time"

	"github.com/casemate-dev/casemate/pkg/release/manifest"
)

// RouteState is what a gateway does with connections for a domain.
type RouteState string

// The states of a route.
const (
	RouteServing RouteState = "SERVING"
	RouteHeld    RouteState = "HELD"
	RouteClosed  RouteState = "CLOSED"
)

// Route joins a domain to the enclave that serves it. A deleted route stays as
// a record, so that its generation can only grow.
type Route struct {
	Domain      string        `json:"domain"`
	Org         string        `json:"org"`
	Container   string        `json:"container"`
	State       RouteState    `json:"state"`
	Enclave     string        `json:"enclave,omitempty"`
	Endpoint    string        `json:"endpoint,omitempty"`
	Generation  int64         `json:"generation"`
	HoldTimeout time.Duration `json:"hold_timeout,omitempty"`
	Deleted     bool          `json:"deleted,omitempty"`
	Updated     time.Time     `json:"updated"`
	// Lost are the enclaves that were given up with their host, the latest last:
	// connections to them are to be closed.
	Lost []string `json:"lost,omitempty"`
}

// Equal says whether two routes are the same.
func (r Route) Equal(o Route) bool {
	return r.Domain == o.Domain && r.Org == o.Org && r.Container == o.Container && r.State == o.State &&
		r.Enclave == o.Enclave && r.Endpoint == o.Endpoint && r.Generation == o.Generation &&
		r.HoldTimeout == o.HoldTimeout && r.Deleted == o.Deleted && r.Updated.Equal(o.Updated) && slices.Equal(r.Lost, o.Lost)
}

// Reservation is what was promised to an enclave on a host. It stands until the
// enclave is proved gone, or its host is given up on.
type Reservation struct {
	Enclave   string `json:"enclave"`
	Host      string `json:"host"`
	Org       string `json:"org"`
	Container string `json:"container"`
	Room      Room   `json:"room"`
	// After names an enclave whose room this one takes over once it is gone: the
	// two are counted once.
	After string `json:"after,omitempty"`
}

// WithoutRoom returns the reservations that stand without room, in the order of
// their enclaves: those of enclaves that were given up on.
func WithoutRoom(all map[string]Reservation) []Reservation {
	var out []Reservation
	for _, r := range all {
		if r.Room == (Room{}) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Reservation) int { return strings.Compare(a.Enclave, b.Enclave) })
	return out
}

// Host is a machine that runs the agent.
type Host struct {
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	Cordoned bool      `json:"cordoned,omitempty"`
	Created  time.Time `json:"created"`
}

// Revision is immutable: everything that decides what an enclave runs.
type Revision struct {
	Number       int64             `json:"number"`
	Repository   string            `json:"repository"`
	Tag          string            `json:"tag"`
	Commit       string            `json:"commit"`
	ConfigName   string            `json:"config_name"`
	Config       []byte            `json:"config"`
	ConfigDigest string            `json:"config_digest"`
	Variables    map[string]string `json:"variables,omitempty"`
	Secrets      map[string]int64  `json:"secrets,omitempty"`
	Room         Room              `json:"room"`
	CVMVersion   string            `json:"cvm_version,omitempty"`
	// Manifest is the signed manifest that the release was approved by; nil for an
	// unsigned one. Expected are the measurements in it for such enclaves.
	Manifest *Manifest           `json:"manifest,omitempty"`
	Expected []manifest.Expected `json:"expected,omitempty"`
	// HealthWait is how long the config's own health checks allow for the start.
	HealthWait time.Duration `json:"health_wait,omitempty"`
	Debug      bool          `json:"debug,omitempty"`
	SSHKeys    []string      `json:"ssh_keys,omitempty"`
	Created    time.Time     `json:"created"`
}

// Manifest is a signed manifest as it was published, and what was read in it. It
// is kept, so that a redeploy needs no repository and is judged anew all the same.
type Manifest struct {
	// Number grows with every release of the repository.
	Number uint64 `json:"number"`
	// Digest is sha256: and the hex of the manifest's SHA-256.
	Digest string `json:"digest"`
	// SignedBy names the key or the identity that signed.
	SignedBy string `json:"signed_by"`
	// Envelope, Plain and Bundle are the files.
	Envelope []byte `json:"envelope,omitempty"`
	Plain    []byte `json:"plain,omitempty"`
	Bundle   []byte `json:"bundle,omitempty"`
}

// Severity tells how much an event matters.
type Severity string

// The severities.
const (
	Info    Severity = "INFO"
	Warning Severity = "WARNING"
	Error   Severity = "ERROR"
)

// Event is something that happened, with its reason.
type Event struct {
	Org       string    `json:"org,omitempty"`
	Container string    `json:"container,omitempty"`
	Update    string    `json:"update,omitempty"`
	Host      string    `json:"host,omitempty"`
	Severity  Severity  `json:"severity"`
	Reason    string    `json:"reason"`
	Text      string    `json:"text"`
	Time      time.Time `json:"time"`
}

// Secret is a named value of an org: its versions, encrypted.
type Secret struct {
	Org     string    `json:"org"`
	Name    string    `json:"name"`
	Version int64     `json:"version"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// SecretValue is one version of a secret, sealed under the coordinator's key.
type SecretValue struct {
	Version int64     `json:"version"`
	Sealed  []byte    `json:"sealed"`
	Created time.Time `json:"created"`
}

// Request remembers what a request id has led to.
type Request struct {
	Method string `json:"method"`
	// Digest is that of the request, so that an id can't be used for two.
	Digest    string    `json:"digest"`
	Container string    `json:"container,omitempty"`
	Update    string    `json:"update,omitempty"`
	Time      time.Time `json:"time"`
}

// Gateway is a gateway that has watched routes.
type Gateway struct {
	Name string    `json:"name"`
	Seen time.Time `json:"seen"`
}
