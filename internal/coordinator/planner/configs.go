package planner

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"github.com/casemate-dev/casemate/pkg/release"
)

// Bounds on the configs that are kept parsed: a plan is looked at and then
// started, and many containers run the same release.
const (
	keptConfigs     = 512
	keptConfigBytes = 64 << 10
)

// configs keeps config files parsed, those used last. What it gives out is
// shared: nobody changes a config.
type configs struct {
	mu     sync.Mutex
	byFile map[[sha256.Size]byte]*list.Element
	// used has the files, the one used last in front.
	used list.List
}

// parsed is what came of one file.
type parsed struct {
	file     [sha256.Size]byte
	config   *release.Config
	warnings []release.Warning
}

// parse is release.Parse, with what it returned for the same file before.
func (c *configs) parse(name string, data []byte) (*release.Config, []release.Warning, error) {
	if len(data) > keptConfigBytes {
		return release.Parse(name, data)
	}
	file := sha256.Sum256(append([]byte(name+"\x00"), data...))
	if p := c.find(file); p != nil {
		return p.config, p.warnings, nil
	}
	config, warnings, err := release.Parse(name, data)
	if err == nil {
		c.keep(&parsed{file, config, warnings})
	}
	return config, warnings, err
}

func (c *configs) find(file [sha256.Size]byte) *parsed {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byFile[file]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*parsed)
}

func (c *configs) keep(p *parsed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byFile[p.file] != nil {
		return
	}
	if c.byFile == nil {
		c.byFile = map[[sha256.Size]byte]*list.Element{}
	}
	c.byFile[p.file] = c.used.PushFront(p)
	if c.used.Len() > keptConfigs {
		oldest := c.used.Remove(c.used.Back()).(*parsed)
		delete(c.byFile, oldest.file)
	}
}
