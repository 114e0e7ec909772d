package release

import (
	"crypto/sha256"
	"strings"
)

// Config is a validated config file. Whatever Parse returns obeys every rule of
// docs/config.md, with the defaults filled in.
type Config struct {
	// Name is the file's name as given to Parse.
	Name string
	// Raw is the file, byte for byte: its SHA-256 is what is measured.
	Raw []byte
	// CVMVersion names the CVM image without its digest, such as 0.14.12.
	CVMVersion string
	// CVMDigest is the CVM image's digest (sha256:<64 hex>) or empty.
	CVMDigest string
	// CPUs is the enclave's number of vCPUs.
	CPUs int
	// MemoryMiB is the enclave's memory in MiB.
	MemoryMiB int
	// GPUs is the number of whole GPUs the enclave holds, 0 to 8.
	GPUs int
	// Models are read-only disks with model weights, in the file's order.
	Models []Model
	// Volumes are writable disks, in the file's order.
	Volumes []Volume
	// Containers has at least one entry, in the file's order: the order of
	// starting.
	Containers []Container
	// Networks are the enclave's inner networks, in the file's order.
	Networks []Network
	// InboundPorts are the enclave's ports that the outside may reach besides
	// the shim's.
	InboundPorts []uint16
	// Shim is the front door.
	Shim Shim
}

// Digest is the SHA-256 of the raw file: the hash on the measured command line.
func (c *Config) Digest() [sha256.Size]byte { return sha256.Sum256(c.Raw) }

// Model is a read-only EROFS disk under dm-verity.
type Model struct {
	// Name is unique among the models; containers name it in their models.
	Name string
	// Repo is where the weights came from, such as org/model@revision.
	Repo string
	// RootHash is the dm-verity root hash, 64 hex digits.
	RootHash string
	// HashOffset is where the hash tree begins on the disk, in bytes.
	HashOffset uint64
	// UUID is the verity superblock's UUID; empty in the oldest form.
	UUID string
}

// Volume is a writable disk, encrypted inside the enclave.
type Volume struct {
	// Name is unique among the volumes.
	Name string
	// Exec permits running programs from it.
	Exec bool
	// Owner is the uid and gid of the mount's root, 0 to 65534.
	Owner int
	// KeySecret names the secret that holds the disk's key; empty means a key
	// that is made at boot and lost with the enclave.
	KeySecret string
}

// Egress says what containers of a network may reach outside.
type Egress string

// The kinds of egress.
const (
	// EgressClosed lets nothing out.
	EgressClosed Egress = "closed"
	// EgressAllowlist lets out to the hosts of Network.Allow only.
	EgressAllowlist Egress = "allowlist"
	// EgressOpen lets everything out.
	EgressOpen Egress = "open"
)

// Network is a network inside the enclave.
type Network struct {
	// Name has at most 15 characters: it becomes an interface's name.
	Name string
	// Egress is EgressClosed unless the file says otherwise.
	Egress Egress
	// Allow lists exact host names, lower case; only with EgressAllowlist.
	Allow []string
}

// TLSMode says where the shim's certificate comes from.
type TLSMode string

// The modes of tls-mode. In every mode the key is made inside the enclave and
// bound by its evidence.
const (
	// TLSCertProxy gets a certificate through the platform: the default.
	TLSCertProxy TLSMode = "cert-proxy"
	// TLSACME gets a certificate by ACME from inside the enclave.
	TLSACME TLSMode = "acme"
	// TLSSelfSigned presents a certificate that the enclave signed itself.
	TLSSelfSigned TLSMode = "self-signed"
)

// Shim is the enclave's front door: it ends TLS and proxies to one container.
type Shim struct {
	// UpstreamPort is the port of the upstream container, 1 to 65535.
	UpstreamPort uint16
	// UpstreamContainer names one of Containers; the first one by default.
	UpstreamContainer string
	// Paths are the paths that are proxied: exact, or a prefix with a
	// trailing *. Empty means all of them.
	Paths []string
	// Origins are the browser origins that may call; empty means any.
	Origins []string
	// TLSMode is TLSCertProxy unless the file says otherwise.
	TLSMode TLSMode
	// Authenticated asks callers for an API key.
	Authenticated bool
	// AuthenticatedEndpoints are the paths that ask for a key, in the form of
	// Paths; empty with Authenticated means all of them.
	AuthenticatedEndpoints []string
	// RateLimit is requests a second and caller; 0 means no limit.
	RateLimit float64
	// RateBurst is how many requests may come at once under RateLimit.
	RateBurst int
}

// Serves says whether the shim proxies a request for this URL path. The path
// must already be cleaned: no dot segments, no double slashes.
func (s Shim) Serves(path string) bool { return len(s.Paths) == 0 || matchesAny(s.Paths, path) }

// NeedsKey says whether a request for this URL path must carry an API key.
func (s Shim) NeedsKey(path string) bool {
	if !s.Authenticated {
		return false
	}
	return len(s.AuthenticatedEndpoints) == 0 || matchesAny(s.AuthenticatedEndpoints, path)
}

func matchesAny(patterns []string, path string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); p == path || ok && strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}
