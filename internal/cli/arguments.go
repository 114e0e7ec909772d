package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// nameArguments has commands say which argument is missing or too many, by the names
// in their usage lines.
func nameArguments(c *cobra.Command) {
	for _, sub := range c.Commands() {
		nameArguments(sub)
	}
	count := c.Args
	if count == nil || c.HasSubCommands() {
		return
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		err := count(cmd, args)
		var worded *codeError
		if err == nil || errors.As(err, &worded) {
			return err
		}
		needed, all := usageArguments(cmd.Use)
		switch {
		case len(args) < len(needed):
			return fmt.Errorf("%s is missing", needed[len(args)])
		case len(args) > all:
			return fmt.Errorf("%q is one argument too many", args[all])
		}
		return err
	}
}

// usageArguments reads a usage line: the arguments that it needs, and how many there
// may be. Those in brackets may be left out; flags end them.
func usageArguments(use string) (needed []string, all int) {
	for _, word := range strings.Fields(use)[1:] {
		if strings.HasPrefix(word, "-") {
			break
		}
		all++
		if !strings.HasPrefix(word, "[") {
			needed = append(needed, strings.TrimSuffix(word, "..."))
		}
	}
	return needed, all
}
