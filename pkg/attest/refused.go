package attest

import (
	"fmt"
	"strings"
)

// RefusedError says that evidence was verified and not accepted, and by which
// checks.
type RefusedError struct {
	Format Format
	Failed []Check
}

// Error names every failed check with its reason.
func (e *RefusedError) Error() string {
	if len(e.Failed) == 0 {
		return fmt.Sprintf("%s evidence refused: no check was made", e.Format)
	}
	parts := make([]string, len(e.Failed))
	for i, c := range e.Failed {
		parts[i] = c.Name + ": " + c.Detail
	}
	return fmt.Sprintf("%s evidence refused: %s", e.Format, strings.Join(parts, "; "))
}
