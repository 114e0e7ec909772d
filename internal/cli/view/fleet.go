package view

import (
	"fmt"
	"strconv"
	"strings"

	agentv1 "github.com/casemate-dev/casemate/gen/casemate/agent/v1"
	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// hostStatus is a host's status with its cordon.
func (v View) hostStatus(h *cv1.Host) string {
	text := statusColour(v.Style, strings.TrimPrefix(h.GetStatus().String(), "HOST_STATUS_"))
	if h.GetStatus() == cv1.HostStatus_HOST_STATUS_READY {
		text = v.Style.Good("READY")
	}
	if h.GetFacts().GetProfile() == agentv1.CvmProfile_CVM_PROFILE_NONE {
		text += " " + v.Style.Warn("[NO TEE]")
	}
	if h.GetCordoned() {
		text += " " + v.Style.Warn("[CORDONED]")
	}
	return text
}

// Hosts is the table of hosts.
func (v View) Hosts(list []*cv1.Host) string {
	if len(list) == 0 {
		return "no hosts: add one with casemate host add NAME ADDRESS\n"
	}
	t := table{header: []string{"NAME", "STATUS", "FREE GPUS", "GPU COUNTS", "FREE VCPUS", "FREE MEMORY", "ENCLAVES", "SEEN", "WHY"}}
	for _, h := range list {
		t.add(clean(h.GetName()), v.hostStatus(h), of(uint64(h.GetFree().GetGpus()), uint64(h.GetTotal().GetGpus())),
			counts(h.GetGpuOffers()), of(uint64(h.GetFree().GetCpus()), uint64(h.GetTotal().GetCpus())),
			memory(h.GetFree().GetMemoryMib()), strconv.Itoa(len(h.GetEnclaves())), age(h.GetSeenTime(), v.Now), clean(h.GetText()))
	}
	return t.text(v.Style)
}

func of(free, total uint64) string { return fmt.Sprintf("%d of %d", free, total) }

// Host is all there is to say of one host.
func (v View) Host(h *cv1.Host) string {
	facts := h.GetFacts()
	var f fields
	f.add("name", clean(h.GetName()))
	f.add("address", clean(h.GetAddress()))
	f.add("status", v.hostStatus(h))
	f.add("why", clean(h.GetText()))
	f.add("free", room(h.GetFree()))
	f.add("total", room(h.GetTotal()))
	f.add("gpu counts", counts(h.GetGpuOffers()))
	if facts != nil {
		f.add("profile", strings.ReplaceAll(small(facts.GetProfile().String(), "CVM_PROFILE_"), " ", "-"))
		f.add("backend", clean(facts.GetBackend()))
		f.add("agent", clean(facts.GetAgentVersion()))
		f.add("boot id", clean(facts.GetBootId()))
	}
	var enclaves []string
	for _, e := range h.GetEnclaves() {
		enclaves = append(enclaves, clean(e))
	}
	f.add("enclaves", strings.Join(enclaves, "\n"))
	f.add("conditions", v.conditions(facts.GetConditions()))
	f.add("seen", moment(h.GetSeenTime(), v.Now))
	f.add("added", moment(h.GetCreateTime(), v.Now))
	return f.text(v.Style) + v.gpus(facts.GetGpus())
}

func (v View) conditions(list []*agentv1.Condition) string {
	var out []string
	for _, c := range list {
		text := v.severity(c.GetSeverity()) + " " + clean(c.GetCode())
		if s := clean(c.GetSubject()); s != "" {
			text += " " + s
		}
		out = append(out, text+": "+clean(c.GetText()))
	}
	return strings.Join(out, "\n")
}

func (v View) severity(s agentv1.Severity) string {
	name := small(s.String(), "SEVERITY_")
	switch s {
	case agentv1.Severity_SEVERITY_ERROR:
		return v.Style.Bad(name)
	case agentv1.Severity_SEVERITY_WARNING:
		return v.Style.Warn(name)
	}
	return name
}

func (v View) gpus(list []*agentv1.Gpu) string {
	if len(list) == 0 {
		return ""
	}
	t := table{header: []string{"GPU", "MODEL", "MODE", "DRIVER", "STATE", "ENCLAVE", "WHY"}}
	for _, g := range list {
		state := "free"
		switch {
		case g.GetEnclaveId() != "":
			state = "held"
		case !g.GetHealthy():
			state = v.Style.Bad("not offered")
		}
		t.add(clean(g.GetBdf()), clean(g.GetModel()), clean(g.GetMode()), clean(g.GetDriver()), state,
			clean(g.GetEnclaveId()), strings.ReplaceAll(v.conditions(g.GetConditions()), "\n", "; "))
	}
	return "\n" + t.text(v.Style)
}

// Routes is the table of routes.
func (v View) Routes(list []*cv1.Route) string {
	if len(list) == 0 {
		return "no routes\n"
	}
	t := table{header: []string{"DOMAIN", "STATE", "CONTAINER", "ENCLAVE", "ENDPOINT", "GENERATION", "CHANGED"}}
	for _, r := range list {
		t.add(clean(r.GetDomain()), statusColour(v.Style, strings.TrimPrefix(r.GetState().String(), "ROUTE_STATE_")),
			clean(r.GetOrg())+"/"+clean(r.GetContainer()), clean(r.GetEnclave()), clean(r.GetEndpoint()),
			strconv.FormatInt(r.GetGeneration(), 10), age(r.GetUpdateTime(), v.Now))
	}
	return t.text(v.Style)
}
