package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Clean removes the temporary files that earlier writes into dir left behind
// when their process died. Nobody may be writing into dir at the time.
func Clean(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, TempPattern))
	if err != nil {
		return fmt.Errorf("list temporary files in %s: %w", dir, err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}
