package main

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
)

// agent is one simulated host. Enclaves that it has had from the start are made
// when somebody asks for them; changed has those that are otherwise by now.
type agent struct {
	layout layout
	number int

	mu sync.Mutex
	// events are the changes of enclaves since the start, in order; facts counts
	// those of the host's facts.
	events  []*agentv1.WatchEnclavesResponse
	facts   int
	wake    chan struct{}
	changed map[string]*agentv1.Enclave
}

func newAgent(l layout, number int) *agent {
	return &agent{layout: l, number: number, wake: make(chan struct{}), changed: map[string]*agentv1.Enclave{}}
}

// all returns every enclave; a.mu is held.
func (a *agent) all(full bool) []*agentv1.Enclave {
	var out []*agentv1.Enclave
	for n := range a.layout.perHost {
		c := a.number*a.layout.perHost + n
		if full && a.changed[a.layout.enclave(c)] == nil {
			out = append(out, a.layout.initial(c))
		}
	}
	for _, e := range a.changed {
		out = append(out, e)
	}
	return out
}

// initial is the enclave that serves a container at the start.
func (l layout) initial(container int) *agentv1.Enclave {
	k, gpus, tag := l.key(container), gpusOf(container), tagOf(l.revisions)
	e := booted(l.enclave(container), &agentv1.EnclaveSpec{
		Org: k.Org, Container: k.Name, ContainerUid: l.uid(container), Revision: int64(l.revisions),
		Profile: agentv1.CvmProfile_CVM_PROFILE_SEV_SNP, CvmVersion: "0.14.12",
		Cpus: 4, MemoryMib: 8192, Gpus: uint32(gpus),
		Config: configOf(container, tag), ConfigName: "casemate.yml", Tag: tag, Commit: commitOf(tag),
		Platform: &agentv1.Platform{ClusterId: clusterID, SecretsKey: make([]byte, 32), Domain: l.domain(container)},
	})
	if gpus > 0 {
		e.Gpus = []string{bdf(container % l.perHost / 2)}
	}
	return e
}

func bdf(gpu int) string { return fmt.Sprintf("0000:%02x:00.0", 0x10+gpu) }

var stageNames = []string{"config", "network", "identity", "evidence", "gpu", "secrets", "images", "containers", "health"}

// booted is an enclave that is healthy.
func booted(id string, spec *agentv1.EnclaveSpec) *agentv1.Enclave {
	e := &agentv1.Enclave{
		Id: id, Spec: spec, SpecDigest: fmt.Sprintf("%064x", 7), State: agentv1.EnclaveState_ENCLAVE_STATE_HEALTHY,
		Endpoint: "198.51.100.7:20443", Claimed: true, ClusterId: clusterID,
		Verdict: &agentv1.Verdict{Accepted: true, Format: "casemate/snp/v1"},
	}
	for _, name := range stageNames {
		e.Stages = append(e.Stages, &agentv1.BootStage{Name: name, Status: agentv1.StageStatus_STAGE_STATUS_OK})
	}
	return e
}

// host describes the host as it stands; a.mu is held.
func (a *agent) host(full bool) *agentv1.Host {
	h := &agentv1.Host{
		Name: hostName(a.number), AgentVersion: "load", BootId: "boot", ClusterId: clusterID,
		Profile: agentv1.CvmProfile_CVM_PROFILE_SEV_SNP, Backend: "load",
		Cpus: &agentv1.Capacity{Total: cpusPerHost}, MemoryMib: &agentv1.Capacity{Total: memoryPerHost},
	}
	var holders []string
	var cpus, memory uint64
	for _, e := range a.all(full) {
		if !e.GetClaimed() {
			continue
		}
		cpus += uint64(e.GetSpec().GetCpus())
		memory += e.GetSpec().GetMemoryMib()
		for range e.GetSpec().GetGpus() {
			holders = append(holders, e.GetId())
		}
	}
	h.Cpus.Free, h.MemoryMib.Free = cpusPerHost-cpus, memoryPerHost-memory
	h.FreeGpus = uint32(gpusPerHost - len(holders))
	for n := range gpusPerHost {
		g := &agentv1.Gpu{
			Bdf: bdf(n), Uuid: fmt.Sprintf("GPU-%08x-0000-4000-8000-%012x", a.number, n), Model: "NVIDIA H200",
			Generation: "hopper", MemoryMib: 143771, Mode: "cc-on", Driver: "vfio-pci", NumaNode: int32(n / 4), Healthy: true,
		}
		if n < len(holders) {
			g.EnclaveId = holders[n]
		}
		h.Gpus = append(h.Gpus, g)
		h.GpuCounts = append(h.GpuCounts, uint32(n+1))
		if n < int(h.FreeGpus) {
			h.GpuOffers = append(h.GpuOffers, uint32(n+1))
		}
	}
	return h
}

// put changes an enclave and tells whoever watches; claims says that what the
// host has left is another amount now. a.mu is held.
func (a *agent) put(e *agentv1.Enclave, claims bool) {
	a.changed[e.GetId()] = e
	a.events = append(a.events, &agentv1.WatchEnclavesResponse{Event: &agentv1.WatchEnclavesResponse_Changed{Changed: e}})
	if claims {
		a.facts++
	}
	close(a.wake)
	a.wake = make(chan struct{})
}

// find returns a copy of an enclave, nil if there is none; a.mu is held.
func (a *agent) find(id string, full bool) *agentv1.Enclave {
	for _, e := range a.all(full) {
		if e.GetId() == id {
			return proto.CloneOf(e)
		}
	}
	return nil
}
