package fleet

// Census counts hosts and GPUs.
type Census struct {
	// Hosts are by status, the cordoned ones included.
	Hosts    map[Status]int
	Cordoned int
	// GPUs are counted on ready hosts as their agents tell: a faulty one may be in
	// use, too, and counts once. UnknownGPUs are those of other hosts, when last heard of.
	FreeGPUs, UsedGPUs, FaultyGPUs, UnknownGPUs int
	// ReservedGPUs are promised and not claimed yet.
	ReservedGPUs int
}

// Census counts what is there now.
func (f *Fleet) Census() Census {
	f.mu.RLock()
	defer f.mu.RUnlock()
	c := Census{Hosts: map[Status]int{}}
	for name, s := range f.hosts {
		s.mu.Lock()
		c.add(s)
		c.ReservedGPUs += unclaimed(f.promises[name], s).GPUs
		s.mu.Unlock()
	}
	return c
}

// add counts one host; s.mu is held.
func (c *Census) add(s *session) {
	c.Hosts[s.status]++
	if s.record.Cordoned {
		c.Cordoned++
	}
	if s.status != Ready {
		c.UnknownGPUs += len(s.facts.GetGpus())
		return
	}
	for _, g := range s.facts.GetGpus() {
		switch {
		case !g.GetHealthy():
			c.FaultyGPUs++
		case g.GetEnclaveId() != "":
			c.UsedGPUs++
		default:
			c.FreeGPUs++
		}
	}
}
