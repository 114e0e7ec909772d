package agent

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/casemate-dev/casemate/pkg/atomicfile"
)

// runBits is how many generations one run of the agent has before it borrows
// from the next second's: 16 million.
const runBits = 24

// incarnation is the file that keeps generations growing through restarts, and
// tells this state folder from any other.
type incarnation struct {
	Version int    `json:"version"`
	Run     int64  `json:"run"`
	ID      string `json:"id,omitempty"`
}

// good says whether the file can be gone on from.
func (i incarnation) good() bool {
	return i.Version == 1 && i.Run >= 0 && i.Run < 1<<38 && len(i.ID) <= maxIncarnation
}

// maxIncarnation is the longest id that the API takes.
const maxIncarnation = 64

// beginRun returns a generation that is greater than any of an earlier run, and
// the id of the state folder, and records that they were given. A run is numbered
// by the clock or, where the clock went back, by the run before; so a lost file
// loses nothing while the clock is right. The id is made with the file.
func beginRun(path string, now time.Time) (first int64, id string, err error) {
	var last incarnation
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, "", fmt.Errorf("read %s: %w", path, err)
	}
	if err == nil && (json.Unmarshal(text, &last) != nil || !last.good()) {
		last = incarnation{}
	}
	next := incarnation{Version: 1, Run: max(last.Run+1, now.Unix()), ID: last.ID}
	if next.ID == "" {
		next.ID = rand.Text()
	}
	text, err = json.Marshal(next)
	if err != nil {
		return 0, "", fmt.Errorf("encode %s: %w", path, err)
	}
	if err := atomicfile.Write(path, append(text, '\n'), 0o600); err != nil {
		return 0, "", fmt.Errorf("record the start of the agent: %w", err)
	}
	return next.Run << runBits, next.ID, nil
}
