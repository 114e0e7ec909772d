package release

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The capabilities that cap_add may give back.
var grantable = oneOf("IPC_LOCK", "NET_BIND_SERVICE", "SYS_NICE")

// confinementKeys say what a container may use of the enclave.
func confinementKeys(c *Container) keys {
	return keys{
		"cap_add":      distinct(&c.CapAdd, parseCapability),
		"privileged":   refused("a privileged container would own the whole enclave; name the capability in cap_add"),
		"cap_drop":     refused("all capabilities are dropped already; name the ones that are needed in cap_add"),
		"security_opt": refused("no-new-privileges and the enclave's confinement can't be loosened"),
		"pid":          refused("containers never share a process namespace"),
		"devices":      refused("containers get no devices besides GPUs; write runtime: nvidia and gpus"),
		"ipc":          parsed(&c.IPC, parseIPC),
		"runtime":      checked(parseRuntime),
		"gpus":         parsed(&c.GPUs, parseGPUs),
		"shm_size":     parsed(&c.ShmBytes, parseSize),
		"memory":       parsed(&c.MemoryBytes, parseSize),
		"cpus":         parsed(&c.MilliCPUs, parseMilliCPUs),
		"pids_limit": func(v value) {
			if n, ok := v.integer(1, 4<<20); ok { // PID_MAX_LIMIT of the kernel
				c.PidsLimit = int64(n)
			}
		},
		"read_only": into(&c.ReadOnly, value.boolean),
		"networks":  distinct(&c.Networks, parseNetworkName),
		"ports": func(v value) {
			v.list(maxList, func(e value) {
				if port, ok := parseText(e, parseMapping); ok {
					c.Ports = append(c.Ports, port)
				}
			})
		},
	}
}

// containerVintages are the container keys that mean nothing here.
func containerVintages() keys {
	return keys{
		"args":        ignored("arguments of docker run; write the keys of the same names, such as gpus, or command"),
		"cvm_admin":   ignored("no container administers the enclave; it runs confined like every other"),
		"keys":        ignored("no keys are provided under /run/tinfoil/keys; the only attested key is the TLS key"),
		"attestation": ignored("no attestation socket is given to containers; evidence is at /.well-known/casemate/attestation"),
	}
}

// checked reads a value that has one meaning only, and keeps nothing of it.
func checked(parse func(string) (string, error)) func(value) {
	return func(v value) { parseText(v, parse) }
}

func parseCapability(s string) (string, error) {
	if bare, ok := strings.CutPrefix(s, "CAP_"); ok {
		return "", fmt.Errorf("write %s without CAP_", clip(bare))
	}
	if _, err := grantable(s); err != nil {
		return "", fmt.Errorf("the capability can't be given: %w", err)
	}
	return s, nil
}

func parseIPC(s string) (string, error) {
	if s == "host" || s == "shareable" || strings.HasPrefix(s, "container:") {
		return "", fmt.Errorf("ipc: %s would share memory with other containers; write private, "+
			"with shm_size for a larger /dev/shm", clip(s))
	}
	return oneOf("private", "none")(s)
}

func parseRuntime(s string) (string, error) {
	if s != "nvidia" {
		return "", fmt.Errorf("the only runtime that can be named is nvidia, not %s", quote(s))
	}
	return s, nil
}

var indexForm = regexp.MustCompile(`^[0-7](,[0-7])*$`)

// parseGPUs reads all, a count, or indices such as "0,1". A single number is a
// count, as in Compose.
func parseGPUs(s string) (*GPUSelection, error) {
	if s == "all" {
		return &GPUSelection{All: true}, nil
	}
	if n, err := strconv.Atoi(s); err == nil && plainInteger.MatchString(s) {
		if n < 1 || n > MaxGPUs {
			return nil, fmt.Errorf("a count of GPUs must be between 1 and %d, not %s", MaxGPUs, quote(s))
		}
		return &GPUSelection{Count: n}, nil
	}
	if !indexForm.MatchString(s) {
		return nil, fmt.Errorf(`must be all, a count, or indices such as "0,1", not %s`, quote(s))
	}
	sel, seen := &GPUSelection{}, [MaxGPUs]bool{}
	for digit := range strings.SplitSeq(s, ",") {
		i := int(digit[0] - '0')
		if seen[i] {
			return nil, fmt.Errorf("the GPU %d is named twice", i)
		}
		seen[i] = true
		sel.Indices = append(sel.Indices, i)
	}
	return sel, nil
}

// reservedPorts are the enclave's own listeners.
var reservedPorts = map[uint16]string{
	443:  "the shim",
	80:   "certificate issuing",
	2222: "the shell of debug enclaves",
}

// parseMapping reads HOST:CONTAINER.
func parseMapping(s string) (Port, error) {
	host, inside, ok := strings.Cut(s, ":")
	switch {
	case strings.Contains(s, "/"):
		return Port{}, fmt.Errorf("%s: only TCP is published; write HOST:CONTAINER", quote(s))
	case !ok || strings.Contains(inside, ":") || strings.Contains(s, "-"):
		return Port{}, fmt.Errorf("must be HOST:CONTAINER such as 8080:80, not %s", quote(s))
	}
	h, err := parsePort(host)
	if err != nil {
		return Port{}, err
	}
	c, err := parsePort(inside)
	if err != nil {
		return Port{}, err
	}
	if user := reservedPorts[h]; user != "" {
		return Port{}, fmt.Errorf("the enclave's port %d is reserved for %s", h, user)
	}
	return Port{Host: h, Container: c}, nil
}
