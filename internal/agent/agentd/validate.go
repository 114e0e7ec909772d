package agentd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	"github.com/casemate-dev/casemate/internal/fence"
	"github.com/casemate-dev/casemate/internal/yamlconfig"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/enclave/fake/faults"
	"github.com/casemate-dev/casemate/pkg/gpu/fake"
)

// profiles are the profiles by their names in the file.
var profiles = map[string]agentv1.CvmProfile{
	"none":    agentv1.CvmProfile_CVM_PROFILE_NONE,
	"sev-snp": agentv1.CvmProfile_CVM_PROFILE_SEV_SNP,
	"tdx":     agentv1.CvmProfile_CVM_PROFILE_TDX,
}

// fakeTEEs are the TEEs that the fake backend plays.
var fakeTEEs = []string{string(attest.FormatSEVSNP), string(attest.FormatTDX), noTEE}

// noTEE is for guests whose evidence nobody signs.
const noTEE = "none"

// kindFake is the backend of machines without hardware.
const kindFake = "fake"

// Insecure modes by their names in the file.
const (
	allowSimulated = "simulated"
	allowDebug     = "debug"
)

// SetDefaults implements yamlconfig.Defaulter.
func (c *Config) SetDefaults() {
	c.StateDir = "/var/lib/casemate/agent"
	c.Listen.Local = "unix:///run/casemate/agent.sock"
	c.Backend.Fake.ListenHost = "127.0.0.1"
	c.Backend.Fake.TEE = string(attest.FormatSEVSNP)
	if name, err := os.Hostname(); err == nil {
		c.Name = name
	}
}

// Validate implements yamlconfig.Validator.
func (c *Config) Validate() error {
	var p problems
	p.check(c.Name != "" && len(c.Name) <= 63, "name", "must have 1 to 63 characters")
	p.check(filepath.IsAbs(c.StateDir), "state_dir", "must be an absolute path")
	p.listen(c.Listen)
	if c.Admin != "" {
		_, port, err := net.SplitHostPort(c.Admin)
		p.check(err == nil && port != "", "admin", "must be host:port, such as 127.0.0.1:9445")
	}
	if c.ClusterID != "" {
		if err := fence.CheckCluster(c.ClusterID); err != nil {
			p.add("cluster_id", "%v", err)
		}
	}
	_, known := profiles[c.Profile]
	p.check(known, "profile", "must be none, sev-snp or tdx")
	p.backend(c)
	p.capacity(c.Capacity)
	for i, mode := range c.AllowInsecure {
		p.check(mode == allowSimulated || mode == allowDebug, fmt.Sprintf("allow_insecure[%d]", i), "must be simulated or debug")
	}
	if err := c.Attestation.Check("attestation.", slices.Contains(c.AllowInsecure, allowSimulated)); err != nil {
		p = append(p, err)
	}
	p.intervals(c.Intervals)
	return errors.Join(p...)
}

// problems collects what is wrong.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, yamlconfig.Problem(key, format, args...))
}

func (p *problems) check(ok bool, key, text string) {
	if !ok {
		p.add(key, "%s", text)
	}
}

func (p *problems) listen(l Listen) {
	p.check(l.Local != "" || l.TCP != "", "listen", "give local, tcp or both")
	if l.Local != "" {
		path, ok := strings.CutPrefix(l.Local, "unix://")
		p.check(ok && filepath.IsAbs(path), "listen.local", "must be unix:// and an absolute path")
		// sockaddr_un has room for 107 bytes and a zero: unix(7).
		p.check(len(path) <= 107, "listen.local", "has a path of more than 107 bytes, which no socket can have")
	}
	if l.TCP != "" {
		_, port, err := net.SplitHostPort(l.TCP)
		p.check(err == nil && port != "", "listen.tcp", "must be host:port")
	}
}

func (p *problems) backend(c *Config) {
	switch c.Backend.Kind {
	case kindFake:
		p.fake(c.Backend.Fake)
	case "containerd":
		p.add("backend.kind", "containerd is not built into this version: use fake")
	case "":
		p.add("backend.kind", "is required: fake")
	default:
		p.add("backend.kind", "must be fake, not %.40q", c.Backend.Kind)
	}
}

func (p *problems) fake(f Fake) {
	info, err := os.Stat(f.Guest)
	switch {
	case f.Guest == "":
		p.add("backend.fake.guest", "is required: the path of the guest's binary")
	case err != nil:
		p.add("backend.fake.guest", "can't be used: %v", err)
	default:
		p.check(info.Mode().IsRegular() && info.Mode()&0o111 != 0, "backend.fake.guest", "must be a program")
	}
	p.check(f.Dir == "" || filepath.IsAbs(f.Dir), "backend.fake.dir", "must be an absolute path")
	p.check(f.Vendor == "" || filepath.IsAbs(f.Vendor), "backend.fake.vendor", "must be an absolute path")
	p.check(slices.Contains(fakeTEEs, f.TEE), "backend.fake.tee", "must be sev-snp, tdx or none")
	ip := net.ParseIP(f.ListenHost)
	p.check(ip != nil && !ip.IsUnspecified(), "backend.fake.listen_host",
		"must be the IP address at which gateways reach this host")
	if f.HostFile != "" {
		if _, err := fake.Open(f.HostFile); err != nil {
			p.add("backend.fake.host_file", "can't be used: %v", err)
		}
	}
	for container, settings := range f.Faults {
		if _, err := faults.Parse(settings); err != nil {
			p.add("backend.fake.faults."+container, "%v", err)
		}
	}
}

func (p *problems) capacity(c Capacity) {
	p.check(c.CPUs >= 0 && c.CPUs <= 1<<14, "capacity.cpus", "must be 0 to 16384")
	p.check(c.MemoryMiB >= 0 && c.MemoryMiB <= 1<<26, "capacity.memory_mib", "must be 0 to 67108864")
	p.check(c.ReserveCPUs >= 0 && (c.CPUs == 0 || c.ReserveCPUs <= c.CPUs), "capacity.reserve_cpus", "must be 0 to capacity.cpus")
	p.check(c.ReserveMemoryMiB >= 0 && (c.MemoryMiB == 0 || c.ReserveMemoryMiB <= c.MemoryMiB),
		"capacity.reserve_memory_mib", "must be 0 to capacity.memory_mib")
}

func (p *problems) intervals(i Intervals) {
	for _, d := range []struct {
		key   string
		value time.Duration
		most  time.Duration
	}{
		{"inventory", i.Inventory, time.Hour}, {"observe", i.Observe, time.Hour}, {"poll", i.Poll, 30 * time.Second},
		{"call", i.Call, time.Hour}, {"silent", i.Silent, time.Hour}, {"boot", i.Boot, 24 * time.Hour},
		{"boot_per_gib", i.BootPerGiB, time.Hour}, {"fail_grace", i.FailGrace, time.Hour}, {"reattest", i.Reattest, 30 * 24 * time.Hour},
	} {
		p.check(d.value >= 0 && d.value <= d.most && (d.value == 0 || d.value >= time.Millisecond), "intervals."+d.key,
			fmt.Sprintf("must be a time of 1ms to %s", d.most))
	}
}
