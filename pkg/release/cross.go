package release

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

// cross checks what one part of the file says about another.
func (p *parser) cross() {
	c := p.cfg
	names := p.uniqueNames("containers", len(c.Containers), func(i int) string { return c.Containers[i].Name })
	models := p.uniqueNames("models", len(c.Models), func(i int) string { return c.Models[i].Name })
	volumes := p.uniqueNames("volumes", len(c.Volumes), func(i int) string { return c.Volumes[i].Name })
	networks := map[string]bool{}
	for _, n := range c.Networks {
		networks[n.Name] = true
	}
	if disks := len(c.Models) + len(c.Volumes); disks > MaxDisks {
		p.failPath("volumes", "models and volumes are %d disks; at most %d fit an enclave", disks, MaxDisks)
	}
	hostPorts := map[uint16]string{}
	for i := range c.Containers {
		k := containerCheck{p, &c.Containers[i], fmt.Sprintf("containers[%d]", i)}
		k.references(models, volumes, networks)
		k.targets()
		k.secrets()
		k.gpus()
		k.resources()
		k.ports(hostPorts)
	}
	p.crossShim(names)
	p.unused()
	p.takeWhitelist()
}

// failPath reports a fault at the node of a path; a path that is not in the
// file stands for its section.
func (p *parser) failPath(path, format string, args ...any) {
	p.fail(p.node(path), path, format, args...)
}

func (p *parser) warnPath(path, format string, args ...any) {
	p.warn(p.node(path), path, format, args...)
}

func (p *parser) node(path string) *yaml.Node {
	if n := p.at[path]; n != nil {
		return n
	}
	return &yaml.Node{Line: 1, Column: 1}
}

// uniqueNames refuses a name that a list has twice and gives all of them.
func (p *parser) uniqueNames(list string, count int, name func(int) string) map[string]bool {
	seen := map[string]bool{}
	for i := range count {
		n := name(i)
		switch {
		case n == "":
		case seen[n]:
			p.failPath(fmt.Sprintf("%s[%d].name", list, i), "the name %s is taken by an earlier entry", quote(n))
		default:
			seen[n] = true
		}
	}
	return seen
}

// crossShim resolves the upstream container.
func (p *parser) crossShim(names map[string]bool) {
	s := &p.cfg.Shim
	if len(p.cfg.Containers) == 0 || p.at["shim"] == nil {
		return
	}
	if s.UpstreamContainer == "" {
		s.UpstreamContainer = p.cfg.Containers[0].Name
	}
	if !names[s.UpstreamContainer] && p.at["shim.upstream-container"] != nil {
		p.failPath("shim.upstream-container", "there is no container named %s", quote(s.UpstreamContainer))
	}
	for i, path := range s.AuthenticatedEndpoints {
		if !s.Serves(path) {
			p.warnPath(fmt.Sprintf("shim.authenticated-endpoints[%d]", i), "%s is not among paths, so it is never served", quote(path))
		}
	}
	for i, c := range p.cfg.Containers {
		if c.Name == s.UpstreamContainer && c.Healthcheck == nil && p.at[fmt.Sprintf("containers[%d].healthcheck", i)] == nil {
			p.warnPath(fmt.Sprintf("containers[%d]", i),
				"the upstream container has no healthcheck: an update takes it for ready as soon as it runs")
		}
	}
}

// unused warns about what is declared and held but used by nobody.
func (p *parser) unused() {
	mounted, attached, gpus := map[string]bool{}, map[string]bool{}, false
	published := map[uint16]bool{}
	for _, c := range p.cfg.Containers {
		gpus = gpus || c.GPUs != nil
		for _, m := range c.Volumes {
			mounted[m.Volume] = true
		}
		for _, n := range c.Networks {
			attached[n] = true
		}
		for _, port := range c.Ports {
			published[port.Host] = true
		}
	}
	if p.cfg.GPUs > 0 && !gpus {
		p.warnPath("gpus", "the enclave holds GPUs that no container uses; write runtime: nvidia and gpus: all")
	}
	for i, v := range p.cfg.Volumes {
		if !mounted[v.Name] {
			p.warnPath(fmt.Sprintf("volumes[%d]", i), "no container mounts the volume %s", clip(v.Name))
		}
	}
	for _, n := range p.cfg.Networks {
		if !attached[n.Name] {
			p.warnPath("networks."+n.Name, "no container is attached to the network")
		}
	}
	for i, port := range p.cfg.InboundPorts {
		if !published[port] {
			p.warnPath(fmt.Sprintf("cvm-network.inbound-ports[%d]", i), "no container publishes the port %d", port)
		}
	}
}
