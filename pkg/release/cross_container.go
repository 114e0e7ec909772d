package release

import (
	"fmt"
	"slices"
)

// containerCheck checks one container against the rest of the file.
type containerCheck struct {
	p    *parser
	c    *Container
	path string
}

func (k containerCheck) fail(key, format string, args ...any) {
	k.p.failPath(k.path+"."+key, format, args...)
}

// references refuses names that are not declared.
func (k containerCheck) references(models, volumes, networks map[string]bool) {
	for _, name := range k.c.Models {
		if !models[name] {
			k.fail("models", "the model %s is not declared in models", quote(name))
		}
	}
	for _, m := range k.c.Volumes {
		if !volumes[m.Volume] {
			k.fail("volumes", "the volume %s is not declared in volumes", quote(m.Volume))
		}
	}
	for _, name := range k.c.Networks {
		if !networks[name] {
			k.fail("networks", "the network %s is not declared in networks", quote(name))
		}
	}
}

// targets refuses two mounts at one place.
func (k containerCheck) targets() {
	seen := map[string]bool{}
	for _, m := range k.c.Volumes {
		if seen[m.Target] {
			k.fail("volumes", "two volumes are mounted at %s", quote(m.Target))
		}
		seen[m.Target] = true
	}
	for _, t := range k.c.Tmpfs {
		if seen[t.Target] {
			k.fail("tmpfs", "a volume is mounted at %s already", quote(t.Target))
		}
	}
}

// secrets refuses a name that is a variable and a secret at once.
func (k containerCheck) secrets() {
	for _, e := range k.c.Env {
		if slices.Contains(k.c.Secrets, e.Name) {
			k.fail("secrets", "%s is a variable in env too; keep one of them", clip(e.Name))
		}
	}
	for i := range k.p.cfg.Volumes {
		if key := k.p.cfg.Volumes[i].KeySecret; key != "" && slices.Contains(k.c.Secrets, key) {
			k.fail("secrets", "%s is the key of the volume %s; a container must not see it", clip(key), clip(k.p.cfg.Volumes[i].Name))
		}
	}
}

// gpus refuses a selection that the enclave does not have.
func (k containerCheck) gpus() {
	sel, have := k.c.GPUs, k.p.cfg.GPUs
	switch {
	case sel == nil:
	case have == 0:
		k.fail("gpus", "the enclave has no GPUs; write gpus at the top level")
	case sel.Count > have:
		k.fail("gpus", "%d GPUs are asked for and the enclave has %d", sel.Count, have)
	case len(sel.Indices) > 0 && slices.Max(sel.Indices) >= have:
		k.fail("gpus", "there is no GPU %d: the enclave has %d, counted from 0", slices.Max(sel.Indices), have)
	}
}

// resources refuses bounds above what the enclave has.
func (k containerCheck) resources() {
	memory := int64(k.p.cfg.MemoryMiB) << 20
	over := func(bytes int64) bool { return memory > 0 && bytes > memory }
	if over(k.c.MemoryBytes) {
		k.fail("memory", "is more than the enclave's %d MiB", k.p.cfg.MemoryMiB)
	}
	if over(k.c.ShmBytes) {
		k.fail("shm_size", "is more than the enclave's %d MiB", k.p.cfg.MemoryMiB)
	}
	for _, t := range k.c.Tmpfs {
		if over(t.SizeBytes) {
			k.fail("tmpfs", "%s is larger than the enclave's %d MiB", quote(t.Target), k.p.cfg.MemoryMiB)
		}
	}
	if have := k.p.cfg.CPUs; have > 0 && k.c.MilliCPUs > int64(have)*1000 {
		k.fail("cpus", "is more than the enclave's %d", have)
	}
}

// ports refuses an enclave port that two containers publish.
func (k containerCheck) ports(taken map[uint16]string) {
	for _, port := range k.c.Ports {
		if by, found := taken[port.Host]; found {
			k.fail("ports", "the enclave's port %d is published by %s already", port.Host, clip(by))
			continue
		}
		taken[port.Host] = fmt.Sprintf("the container %s", k.c.Name)
	}
	if len(k.c.Ports) > 0 && len(k.c.Networks) == 0 {
		k.fail("ports", "a container without networks can't be reached; attach it to one")
	}
}
