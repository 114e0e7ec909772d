package release

import (
	"fmt"
	"strconv"
	"strings"
)

// factSet has a config's statements by path, each in words. A thing that is
// only there or not there says "present".
type factSet map[string]string

const present = "present"

func (f factSet) put(path string, value any) {
	switch text := fmt.Sprint(value); text {
	case "", "0", "[]", "<nil>":
	default:
		f[path] = text
	}
}

func (f factSet) each(path string, names []string) {
	for _, n := range names {
		f[path+"["+n+"]"] = present
	}
}

// words joins a command so that its words stay apart.
func words(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, " ")
}

// facts flattens one side of a comparison.
func facts(s Side) factSet {
	c, f := s.Config, factSet{}
	f.put("cvm-version", c.CVMVersion)
	f.put("cvm-digest", c.CVMDigest)
	f["cpus"], f["memory"], f["gpus"] = strconv.Itoa(c.CPUs), fmt.Sprintf("%d MiB", c.MemoryMiB), strconv.Itoa(c.GPUs)
	for _, p := range c.InboundPorts {
		f[fmt.Sprintf("inbound-ports[%d]", p)] = present
	}
	f.disks(c)
	for _, n := range c.Networks {
		f["networks["+n.Name+"]"] = present
		f.put("networks["+n.Name+"].egress", n.Egress)
		f.each("networks["+n.Name+"].allow", n.Allow)
	}
	for i := range c.Containers {
		f.container("containers["+c.Containers[i].Name+"]", &c.Containers[i])
	}
	f.shim(c.Shim)
	for name, val := range s.Variables {
		f["variables["+name+"]"] = strconv.Quote(val)
	}
	f.each("secrets", c.Secrets())
	for name, version := range s.SecretVersions {
		f["secret-versions["+name+"]"] = version
	}
	return f
}

func (f factSet) disks(c *Config) {
	for _, m := range c.Models {
		path := "models[" + m.Name + "]"
		f[path] = present
		f.put(path+".repo", m.Repo)
		f[path+".mpk"] = fmt.Sprintf("%s_%d_%s", m.RootHash, m.HashOffset, m.UUID)
	}
	for _, v := range c.Volumes {
		path := "volumes[" + v.Name + "]"
		f[path] = present
		f[path+".exec"] = strconv.FormatBool(v.Exec)
		f.put(path+".owner", v.Owner)
		f.put(path+".key-secret", v.KeySecret)
	}
}

func (f factSet) container(path string, c *Container) {
	f[path] = present
	f[path+".image"] = c.Image
	f.put(path+".entrypoint", words(c.Entrypoint))
	f.put(path+".command", words(c.Command))
	f.put(path+".working_dir", c.WorkingDir)
	f.put(path+".user", c.User)
	for _, e := range c.Env {
		if e.Open {
			f[path+".env["+e.Name+"]"] = "from outside"
		} else {
			f[path+".env["+e.Name+"]"] = strconv.Quote(e.Value)
		}
	}
	f.each(path+".secrets", c.Secrets)
	if c.Registry != nil {
		f[path+".registry"] = c.Registry.Username + ", password in the secret " + c.Registry.PasswordSecret
	}
	f.mounts(path, c)
	f.confinement(path, c)
	f[path+".restart"] = string(c.Restart.Policy)
	if c.Restart.MaxRetries > 0 {
		f[path+".restart"] = fmt.Sprintf("%s:%d", c.Restart.Policy, c.Restart.MaxRetries)
	}
	f[path+".stop_signal"], f[path+".stop_timeout"] = c.StopSignal, c.StopTimeout.String()
	if h := c.Healthcheck; h != nil {
		f[path+".healthcheck"] = fmt.Sprintf("%s every %s, timeout %s, %d retries, start period %s",
			words(h.Test), h.Interval, h.Timeout, h.Retries, h.StartPeriod)
	}
}

func (f factSet) mounts(path string, c *Container) {
	f.each(path+".models", c.Models)
	for _, m := range c.Volumes {
		f[path+".volumes["+m.Target+"]"] = m.Volume + access(m.ReadOnly)
	}
	for _, t := range c.Tmpfs {
		f[path+".tmpfs["+t.Target+"]"] = fmt.Sprintf("size %d, mode %04o, owner %d:%d, exec %t%s",
			t.SizeBytes, t.Mode, t.UID, t.GID, t.Exec, access(t.ReadOnly))
	}
}

func access(readOnly bool) string {
	if readOnly {
		return ", read-only"
	}
	return ""
}

func (f factSet) confinement(path string, c *Container) {
	f.each(path+".cap_add", c.CapAdd)
	f.each(path+".networks", c.Networks)
	for _, p := range c.Ports {
		f[fmt.Sprintf("%s.ports[%d]", path, p.Host)] = strconv.Itoa(int(p.Container))
	}
	switch g := c.GPUs; {
	case g == nil:
	case g.All:
		f[path+".gpus"] = "all"
	case g.Count > 0:
		f[path+".gpus"] = fmt.Sprintf("the first %d", g.Count)
	default:
		f[path+".gpus"] = fmt.Sprint(g.Indices)
	}
	f[path+".ipc"] = c.IPC
	f.put(path+".shm_size", c.ShmBytes)
	f.put(path+".memory", c.MemoryBytes)
	if c.MilliCPUs > 0 {
		f[path+".cpus"] = strconv.FormatFloat(float64(c.MilliCPUs)/1000, 'f', -1, 64)
	}
	f.put(path+".pids_limit", c.PidsLimit)
	f[path+".read_only"] = strconv.FormatBool(c.ReadOnly)
}

func (f factSet) shim(s Shim) {
	f.put("shim.upstream-port", s.UpstreamPort)
	f.put("shim.upstream-container", s.UpstreamContainer)
	f.each("shim.paths", s.Paths)
	f.each("shim.origins", s.Origins)
	f.put("shim.tls-mode", s.TLSMode)
	f["shim.authenticated"] = strconv.FormatBool(s.Authenticated)
	f.each("shim.authenticated-endpoints", s.AuthenticatedEndpoints)
	f.put("shim.rate-limit", s.RateLimit)
	f.put("shim.rate-burst", s.RateBurst)
}
