package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// What every simulated host has.
const (
	gpusPerHost   = 8
	cpusPerHost   = 128
	memoryPerHost = 1 << 20 // MiB
)

// layout is the world of one size. Both processes know it by their flags: which
// container runs where is never sent.
type layout struct{ hosts, perHost, revisions int }

func (l layout) containers() int { return l.hosts * l.perHost }

func hostName(n int) string { return fmt.Sprintf("host-%05d", n) }

// orgs is how many orgs the containers are spread over.
const orgs = 100

func (l layout) key(container int) model.ContainerKey {
	return model.ContainerKey{Org: fmt.Sprintf("org-%02d", container%orgs), Name: fmt.Sprintf("c%06d", container)}
}

func (l layout) uid(container int) string { return fmt.Sprintf("u%09d", container) }

func (l layout) hostOf(container int) int { return container / l.perHost }

// gpus is how many GPUs a container holds.
func gpusOf(container int) int { return container % 2 }

func (l layout) domain(container int) string {
	k := l.key(container)
	return k.Name + "." + k.Org + ".load.test"
}

// enclave is the id of the enclave that serves a container at the start.
func (l layout) enclave(container int) string {
	return fmt.Sprintf("%s-r%d-%d", l.uid(container), l.revisions, l.revisions)
}

func roomOf(gpus int) model.Room { return model.Room{GPUs: gpus, CPUs: 4, MemoryMiB: 8192} }

// repository is a container's own: no two containers share a config, so that
// none is planned faster because another was.
func repository(container int) string { return repositories + strconv.Itoa(container) }

const repositories = "https://git.load.test/acme/app-"

func tagOf(revision int) string { return fmt.Sprintf("v1.%d.0", revision) }

func commitOf(tag string) string { return fmt.Sprintf("%040x", tag)[:40] }

// configOf is a container's config file at a tag: of the size and kind that users
// write.
func configOf(container int, tag string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "cvm-version: 0.14.12\ncpus: 4\nmemory: 8192\n")
	if gpus := gpusOf(container); gpus > 0 {
		fmt.Fprintf(&b, "gpus: %d\n", gpus)
	}
	b.WriteString("containers:\n")
	for n, name := range []string{"app", "sidecar"} {
		fmt.Fprintf(&b, "  - name: %s\n    image: ghcr.io/acme/%s@sha256:%064x\n    env:\n      - RELEASE: \"%s of %d\"\n      - LOG_LEVEL: info\n", name, name, n+1, tag, container)
	}
	b.WriteString("shim:\n  upstream-container: app\n  upstream-port: 8000\n")
	return []byte(b.String())
}
