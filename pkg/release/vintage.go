package release

import (
	"net/url"
	"slices"
)

// ignored warns about a key of another vintage that has no meaning here.
func ignored(why string) func(value) {
	return func(v value) { v.p.warn(v.p.at[v.path], v.path, "ignored: %s", why) }
}

// refused reports a key that is never allowed, whatever its value.
func refused(why string) func(value) {
	return func(v value) { v.p.fail(v.p.at[v.path], v.path, "is not allowed: %s", why) }
}

// foreignKeys are keys of other formats that people write out of habit, with
// what to write here.
var foreignKeys = map[string]string{
	"environment":       "write env, a list of NAME: value",
	"env_file":          "write the values into env",
	"services":          "write containers, a list of containers with a name each",
	"depends_on":        "containers start in the order of the file",
	"network_mode":      "name the container's networks",
	"mem_limit":         "write memory",
	"cpu_count":         "write cpus",
	"expose":            "write ports, or name the port in shim.upstream-port",
	"stop_grace_period": "write stop_timeout, in seconds",
	"build":             "build the image first and name it by its digest",
	"user_id":           "write user",
	"hostname":          "containers of one network find each other by name",
	"memory-mb":         "write memory, in MiB",
	"memory_mb":         "write memory, in MiB",
	"vcpus":             "write cpus",
}

// whitelistNetwork is the network made from network.whitelist.
const whitelistNetwork = "whitelist"

// oldNetwork reads network.whitelist of the 0.6 vintage: URLs that the whole
// enclave may reach.
func (p *parser) oldNetwork(v value) {
	v.object(keys{"whitelist": func(v value) {
		v.list(maxAllow, func(e value) {
			if host, ok := parseText(e, whitelistHost); ok && !slices.Contains(p.whitelist, host) {
				p.whitelist = append(p.whitelist, host)
			}
		})
	}})
}

func whitelistHost(text string) (string, error) {
	if u, err := url.Parse(text); err == nil && u.Host != "" && u.User == nil {
		return parseHost(u.Hostname())
	}
	return parseHost(text)
}

// takeWhitelist turns network.whitelist into a network of today, attached to
// every container that names none.
func (p *parser) takeWhitelist() {
	key := p.at["network"]
	if key == nil || len(p.whitelist) == 0 {
		return
	}
	if p.at["networks"] != nil {
		p.fail(key, "network", "is the old form of networks; keep only one of them")
		return
	}
	p.cfg.Networks = []Network{{Name: whitelistNetwork, Egress: EgressAllowlist, Allow: p.whitelist}}
	for i := range p.cfg.Containers {
		if c := &p.cfg.Containers[i]; len(c.Networks) == 0 {
			c.Networks = []string{whitelistNetwork}
		}
	}
	p.warn(key, "network.whitelist", "old form, taken as a network named %s with egress: allowlist "+
		"and these %d hosts, attached to every container that names no network; paths are not enforced",
		whitelistNetwork, len(p.whitelist))
}
