package release

import (
	"fmt"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v4"
)

var networkForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// reservedNetworks are names that the enclave or its container runtime uses.
var reservedNetworks = []string{"bridge", "default", "host", "lo", "none", "shim-net"}

// parseNetworkName reads a network's name; it becomes an interface's name,
// which the kernel limits to 15 characters (IFNAMSIZ).
func parseNetworkName(s string) (string, error) {
	switch {
	case len(s) > maxNetName:
		return "", fmt.Errorf("the network name %s has %d characters; at most %d fit an interface's name",
			quote(s), len(s), maxNetName)
	case !networkForm.MatchString(s):
		return "", fmt.Errorf("a network name has lower-case letters, digits and hyphens between them, not %s", quote(s))
	case slices.Contains(reservedNetworks, s):
		return "", fmt.Errorf("the network name %s is reserved; choose another", s)
	}
	return s, nil
}

// networks reads the mapping of names to networks; nothing after a name is a
// closed network.
func (p *parser) networks(v value) {
	if count := len(v.node.Content) / 2; v.node.Kind == yaml.MappingNode && count > MaxNetworks {
		v.fail("has %d networks; at most %d are allowed", count, MaxNetworks)
		return
	}
	if v.node.Kind == yaml.SequenceNode {
		v.fail("must be a mapping of names to networks, such as web: {egress: open}")
		return
	}
	v.pairs(func(key *yaml.Node, val value) {
		if _, err := parseNetworkName(key.Value); err != nil {
			p.fail(key, val.path, "%v", err)
			return
		}
		p.cfg.Networks = append(p.cfg.Networks, p.network(key.Value, val))
	})
}

func (p *parser) network(name string, v value) Network {
	n := Network{Name: name, Egress: EgressClosed}
	v.object(keys{
		"egress": parsed(&n.Egress, oneOf(EgressClosed, EgressAllowlist, EgressOpen)),
		"allow":  distinct(&n.Allow, parseHost),
	})
	switch {
	case n.Egress != EgressAllowlist && v.has("allow"):
		p.fail(p.at[v.path+".allow"], v.path+".allow", "needs egress: allowlist; with egress: %s it has no effect", n.Egress)
	case n.Egress == EgressAllowlist && len(n.Allow) == 0 && !v.hasEntries("allow"):
		v.fail("egress: allowlist needs allow with at least one host; write egress: closed for none")
	}
	return n
}

// hasEntries says whether the list under a key has entries, right or wrong.
func (v value) hasEntries(key string) bool { return v.p.at[childPath(v.path, key)+"[0]"] != nil }

// cvmNetwork reads cvm-network.inbound-ports.
func (p *parser) cvmNetwork(v value) {
	v.object(keys{"inbound-ports": func(v value) {
		v.list(MaxInboundPorts, func(e value) {
			port, ok := parseText(e, parsePort)
			switch {
			case !ok:
			case port == 443: // the shim's own, always open
			case reservedPorts[port] != "":
				e.fail("the enclave's port %d is reserved for %s", port, reservedPorts[port])
			case slices.Contains(p.cfg.InboundPorts, port):
				e.fail("the port %d is listed twice", port)
			default:
				p.cfg.InboundPorts = append(p.cfg.InboundPorts, port)
			}
		})
	}})
}
