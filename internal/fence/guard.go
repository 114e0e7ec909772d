package fence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

// Guard holds the fence in force. It is safe for concurrent use.
type Guard struct {
	path string
	disk atomicfile.FS

	mu   sync.Mutex // held while the file is written: Admit is one at a time
	held Fence
}

// Config says where a guard keeps what it knows.
type Config struct {
	// Path is the file.
	Path string
	// Pinned is the only cluster to follow; empty means the first that calls.
	Pinned string
	// FS is the filesystem that is written to; nil means the real one.
	FS atomicfile.FS
}

// ErrDamaged says that the file could not be believed. It was kept beside its
// place, and the guard knows no epoch.
var ErrDamaged = errors.New("the record of the cluster that is followed is damaged")

// Open reads what was admitted before. A pinned cluster that is not the one in
// the file takes its place, and its epochs begin anew. If the file is damaged, a
// usable guard and ErrDamaged are returned.
func Open(cfg Config) (*Guard, error) {
	g := &Guard{path: cfg.Path, disk: cfg.FS}
	if g.disk == nil {
		g.disk = atomicfile.OS{}
	}
	if cfg.Pinned != "" {
		if err := CheckCluster(cfg.Pinned); err != nil {
			return nil, fmt.Errorf("open fence: %w", err)
		}
	}
	held, err := g.read()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("open fence: %w", err)
	}
	g.held = held
	if cfg.Pinned != "" && held.Cluster != cfg.Pinned {
		g.held = Fence{Cluster: cfg.Pinned}
	}
	return g, err
}

// Follow makes a cluster the one that is followed if none is yet: what runs on
// the host says whose it is when the file doesn't.
func (g *Guard) Follow(cluster string) error {
	if err := CheckCluster(cluster); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held.Cluster == "" {
		g.held = Fence{Cluster: cluster}
	}
	return nil
}

// version is that of the file's format.
const version = 1

// maxFile bounds the file.
const maxFile = 4 << 10

type file struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster_id"`
	Epoch   int64  `json:"epoch"`
}

func (g *Guard) write(f Fence) error {
	text, err := json.Marshal(file{version, f.Cluster, f.Epoch})
	if err != nil {
		return fmt.Errorf("encode fence: %w", err)
	}
	return atomicfile.WriteFS(g.disk, g.path, append(text, '\n'), 0o600)
}

func (g *Guard) read() (Fence, error) {
	text, err := os.ReadFile(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Fence{}, nil
	}
	if err != nil {
		return Fence{}, fmt.Errorf("read %s: %w", g.path, err)
	}
	f, err := decode(text)
	if err == nil {
		return f, nil
	}
	aside := g.path + ".corrupt"
	if err := atomicfile.WriteFS(g.disk, aside, text[:min(len(text), maxFile)], 0o600); err != nil {
		return Fence{}, fmt.Errorf("set damaged fence aside: %w", err)
	}
	return Fence{}, fmt.Errorf("%w: %w; it was kept as %s", ErrDamaged, err, aside)
}

// decode reads the file strictly.
func decode(text []byte) (Fence, error) {
	if len(text) > maxFile {
		return Fence{}, fmt.Errorf("%d bytes", len(text))
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Fence{}, fmt.Errorf("not readable: %w", err)
	}
	if d.More() || f.Version != version {
		return Fence{}, fmt.Errorf("version %d, or something after it", f.Version)
	}
	held := Fence{f.Cluster, f.Epoch}
	return held, held.check()
}
