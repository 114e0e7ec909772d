package cli

import (
	"time"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

func twoHosts() []*cv1.Host {
	return []*cv1.Host{
		{
			Name: "gpu-1", Address: "10.0.0.11:7443", Status: cv1.HostStatus_HOST_STATUS_READY,
			Free: &cv1.Room{Gpus: 1, Cpus: 12, MemoryMib: 65536}, Total: &cv1.Room{Gpus: 2, Cpus: 16, MemoryMib: 131072},
			GpuOffers: []uint32{0, 1}, Enclaves: []string{"c7f3a1-r3-4"}, SeenTime: ago(2 * time.Second), CreateTime: ago(72 * time.Hour),
			Facts: &agentv1.Host{
				Name: "gpu-1", AgentVersion: "v0.3.0", BootId: "b00t", Profile: agentv1.CvmProfile_CVM_PROFILE_NONE, Backend: "fake",
				Gpus: []*agentv1.Gpu{
					{Bdf: "0000:17:00.0", Model: "NVIDIA H200", Mode: "on", Driver: "vfio-pci", Healthy: true, EnclaveId: "c7f3a1-r3-4"},
					{Bdf: "0000:18:00.0", Model: "NVIDIA H200", Mode: "on", Driver: "nvidia", Conditions: []*agentv1.Condition{
						{Code: "GPU_UNHEALTHY", Severity: agentv1.Severity_SEVERITY_ERROR, Text: "Xid 79: the card has fallen off the bus: reset it"},
					}},
				},
				Conditions: []*agentv1.Condition{{Code: "CLOCK_SKEW", Severity: agentv1.Severity_SEVERITY_WARNING, Subject: "clock", Text: "the clock is 3 s late: see to NTP"}},
			},
		},
		{
			Name: "gpu-2", Address: "10.0.0.12:7443", Status: cv1.HostStatus_HOST_STATUS_UNREACHABLE, Text: "no answer for 2m: see to the machine",
			Cordoned: true, Free: &cv1.Room{}, Total: &cv1.Room{Gpus: 8, Cpus: 128, MemoryMib: 1048576}, SeenTime: ago(2 * time.Minute),
		},
	}
}

func someSecrets() []*cv1.Secret {
	return []*cv1.Secret{
		{Org: "default", Name: "API_KEY", Version: 2, BoundTo: []string{"api", "web"}, StaleIn: []string{"web"}, CreateTime: ago(100 * time.Hour), UpdateTime: ago(time.Hour), Etag: "s1"},
		{Org: "default", Name: "DB_URL", Version: 1, CreateTime: ago(time.Hour), UpdateTime: ago(time.Hour), Etag: "s2"},
	}
}

func someRoutes() []*cv1.Route {
	return []*cv1.Route{
		{Domain: "llm.default.example.com", Org: "default", Container: "llm", State: cv1.RouteState_ROUTE_STATE_HELD, Generation: 2, UpdateTime: ago(5 * time.Minute)},
		{Domain: "web.example.com", Org: "default", Container: "web", State: cv1.RouteState_ROUTE_STATE_SERVING, Enclave: "c7f3a1-r3-4", Endpoint: "10.0.0.11:20443", Generation: 7, UpdateTime: ago(3 * time.Hour)},
	}
}

func someEvents() []*cv1.Event {
	return []*cv1.Event{
		{Id: "01", Org: "default", Container: "web", Update: "web-u4", Severity: agentv1.Severity_SEVERITY_INFO, Reason: "UPDATE_STARTED", Text: "update to v1.2.4 (BLUE_GREEN) on host gpu-2", Time: ago(2 * time.Minute)},
		{Id: "02", Org: "default", Container: "web", Host: "gpu-2", Severity: agentv1.Severity_SEVERITY_WARNING, Reason: "GATEWAY_SILENT", Text: "not every gateway has acknowledged generation 7: going on without it", Time: ago(time.Minute)},
	}
}

func someRevisions() []*cv1.Revision {
	return []*cv1.Revision{
		{Number: 3, Tag: "v1.2.3", Commit: "8d1f0c2b9a7e6d5c4b3a", Cpus: 4, MemoryMib: 16384, Gpus: 1, SecretVersions: map[string]int64{"API_KEY": 1, "DB_URL": 1}, CreateTime: ago(3 * time.Hour), Manifest: &cv1.Manifest{Number: 23, SignedBy: "key 4d4d4d4d4d4d4d4d"}},
		{Number: 2, Tag: "v1.2.2", Commit: "aaaa0c2b9a7e6d5c4b3a", Cpus: 4, MemoryMib: 16000, Debug: true, CreateTime: ago(50 * time.Hour)},
		{Number: 1, Tag: "v1.2.2", Commit: "aaaa0c2b9a7e6d5c4b3a", Cpus: 4, MemoryMib: 16000, CreateTime: ago(51 * time.Hour)},
	}
}
