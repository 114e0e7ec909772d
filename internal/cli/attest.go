package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

func newAttest(a *app) *cobra.Command {
	c := group("attest", "Verify evidence, and compute what it should say", nil,
		newAttestVerify(a), newAttestContainer(a), newAttestMeasure(a), newAttestPrefetch(a))
	c.Long = `Verify evidence, and compute what it should say. Files in, an answer out: nothing
is fetched but by prefetch, and only container asks the coordinator.

Exit codes: 0 accepted or done; 1 refused, with the failed checks; 2 arguments or
files that can't be used, with the reason on stderr and nothing on stdout.`
	return c
}

// attestRun wraps a command under attest or release: what goes wrong, not by Ctrl-C,
// and has no exit code of its own comes from arguments or files.
func attestRun(run func(*cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		err := run(cmd)
		var coded *codeError
		switch {
		case err != nil && cmd.Context().Err() != nil:
			return &codeError{code: ExitInterrupted, err: err}
		case err == nil || errors.As(err, &coded):
			return err
		}
		return &codeError{code: ExitUsage, err: err}
	}
}

// attestFile reads the file that a flag names, of at most limit bytes. A flag that
// wasn't given reads nothing.
func (a *app) attestFile(flag, path string, limit int64) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	b, err := a.read(path, limit)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return b, nil
}

// attestOnly refuses flags that were given and are none of those allowed with what
// else was given, or empty.
func attestOnly(cmd *cobra.Command, with string, special, allowed []string) error {
	ok := map[string]bool{}
	for _, name := range allowed {
		ok[name] = true
	}
	for _, name := range special {
		flag := cmd.Flags().Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		if !ok[name] {
			return usagef("--%s has no meaning with %s", name, with)
		}
		if flag.Value.String() == "" {
			return usagef("--%s is empty", name)
		}
	}
	return nil
}

// attestClean makes text from evidence safe for a terminal.
func attestClean(v any) string { return terminal.Clean(fmt.Sprint(v)) }
