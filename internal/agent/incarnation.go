package agent

import (
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

// incarnation is the file that keeps generations growing through restarts.
type incarnation struct {
	Version int   `json:"version"`
	Run     int64 `json:"run"`
}

// beginRun returns a generation that is greater than any of an earlier run, and
// records that it was given. A run is numbered by the clock or, where the clock
// went back, by the run before; so a lost file loses nothing while the clock is
// right.
func beginRun(path string, now time.Time) (int64, error) {
	var last incarnation
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	if err == nil && (json.Unmarshal(text, &last) != nil || last.Version != 1 || last.Run < 0 || last.Run >= 1<<38) {
		last.Run = 0
	}
	next := incarnation{Version: 1, Run: max(last.Run+1, now.Unix())}
	text, err = json.Marshal(next)
	if err != nil {
		return 0, fmt.Errorf("encode %s: %w", path, err)
	}
	if err := atomicfile.Write(path, append(text, '\n'), 0o600); err != nil {
		return 0, fmt.Errorf("record the start of the agent: %w", err)
	}
	return next.Run << runBits, nil
}
