package release

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// ConfigNames are the names a config file may have at a repository's root.
func ConfigNames() []string { return []string{"casemate.yml", "tinfoil-config.yml"} }

// maxKept bounds the faults kept for sorting before MaxFaults are reported.
const maxKept = 1000

// parser collects what is found while one file is read.
type parser struct {
	cfg      *Config
	faults   []Fault
	omitted  int
	warnings []Warning
	// at has the node of every key and list entry by its path.
	at map[string]*yaml.Node
	// whitelist is network.whitelist of the 0.6 vintage.
	whitelist []string
}

// Parse reads a config file. The name is used in errors only. The error is a
// *ParseError with every fault; without one, the Config obeys every rule. The
// warnings are given in both cases.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	p := &parser{cfg: &Config{Name: name, Raw: bytes.Clone(data)}, at: map[string]*yaml.Node{}}
	if root := p.load(data); root != nil && p.survey(root) {
		p.file(value{p, root, ""})
		p.cross()
	}
	warnings := p.sortedWarnings()
	if err := p.err(name); err != nil {
		return nil, warnings, err
	}
	return p.cfg, warnings, nil
}

// file reads the top level.
func (p *parser) file(v value) {
	c := p.cfg
	v.object(keys{
		"cvm-version": p.cvmVersion,
		"cpus":        into(&c.CPUs, between(1, maxCPUs)),
		"memory":      into(&c.MemoryMiB, between(minMemoryMiB, maxMemoryMiB)),
		"gpus":        into(&c.GPUs, between(0, MaxGPUs)),
		"models":      p.models,
		"volumes":     p.volumes,
		"containers":  p.containers,
		"networks":    p.networks,
		"cvm-network": p.cvmNetwork,
		"shim":        p.shim,
		// Other vintages.
		"shim-version":  ignored("the shim is part of the CVM image that cvm-version names"),
		"ovmf-version":  ignored("the firmware is part of the CVM image that cvm-version names"),
		"vllm-args":     ignored("no engine is started by itself; write them into a container's command"),
		"keyserver-url": ignored("keys come from the coordinator; create the secrets named by key-secret there"),
		"attested-keys": ignored("no keys are provided under /run/tinfoil/keys; the only attested key is the TLS key"),
		"network":       p.oldNetwork,
	})
	v.require("cvm-version", "cpus", "memory", "shim")
	if !v.has("containers") {
		v.p.fail(v.node, "containers", "is required: list at least one container with name and image "+
			"(the oldest vintage started a model's server by itself)")
	}
}

var cvmVersionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$`)

func (p *parser) cvmVersion(v value) {
	text, ok := v.text()
	if !ok {
		return
	}
	version, digest, pinned := strings.Cut(text, "@")
	if !cvmVersionForm.MatchString(version) {
		v.fail("must be a version such as 0.14.12, not %s", quote(version))
		return
	}
	if pinned {
		if err := checkDigest(digest); err != nil {
			v.fail("%v", err)
			return
		}
	}
	p.cfg.CVMVersion, p.cfg.CVMDigest = version, digest
}

func (p *parser) fail(n *yaml.Node, path, format string, args ...any) {
	p.failAt(n.Line, n.Column, path, format, args...)
}

func (p *parser) failAt(line, column int, path, format string, args ...any) {
	if len(p.faults) >= maxKept {
		p.omitted++
		return
	}
	p.faults = append(p.faults, Fault{line, column, path, fmt.Sprintf(format, args...)})
}

func (p *parser) warn(n *yaml.Node, path, format string, args ...any) {
	if len(p.warnings) < maxKept {
		p.warnings = append(p.warnings, Warning{n.Line, n.Column, path, fmt.Sprintf(format, args...)})
	}
}

// err gives the faults in the file's order, or nil when there are none.
func (p *parser) err(name string) error {
	if len(p.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(p.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	e := &ParseError{Name: name, Faults: p.faults, Omitted: p.omitted}
	if len(e.Faults) > MaxFaults {
		e.Omitted += len(e.Faults) - MaxFaults
		e.Faults = e.Faults[:MaxFaults]
	}
	return e
}

func (p *parser) sortedWarnings() []Warning {
	slices.SortStableFunc(p.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.warnings[:min(len(p.warnings), MaxWarnings)]
}
