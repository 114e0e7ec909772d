package cli

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
)

// groups are the commands beneath the root, each a constructor: another group is
// a file of its own and a line here.
var groups = []func(*app) *cobra.Command{
	newContainer,
	newSecret,
	newHost,
	newRoute,
	newBackup,
	newConfig,
	newAttest,
	newConnect,
	newRelease,
	newDev,
	newCompletion,
	newVersion,
}

// app is one run of the command line.
type app struct {
	env   Env
	flags globals
	link  *link
	lines *bufio.Reader
	// running is set once flags and arguments are known to be good: what fails
	// before is a fault of usage.
	running bool
	// cmd is the command that ran, or was to.
	cmd *cobra.Command
}

// globals are the flags of every command.
type globals struct {
	coordinator, org, output string
	timeout                  time.Duration
	noColor                  bool
}

// Run carries out a command line, without the program's name, and returns the
// exit code. When ctx ends, a command that follows stops following.
func Run(ctx context.Context, args []string, env Env) int {
	a := &app{env: env}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	a.cmd = cmd
	a.close()
	return a.finish(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "casemate",
		Short: "Run containers in confidential VMs, and replace them without losing traffic",
		Long: `Run containers in confidential VMs, and replace them without losing traffic.

Exit codes: 0 done; 1 refused or failed, with the reason; 2 the command line is
wrong or an answer is missing; 3 the coordinator can't be reached; 130 stopped
following by Ctrl-C (what was begun goes on).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       a.env.Version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(cmd.ValidateFlagGroups(), a.checkGlobals()); err != nil {
				return err
			}
			a.running = true
			return nil
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	asGroup(root)
	root.SetIn(a.env.In)
	root.SetOut(a.env.Out)
	root.SetErr(a.env.Err)
	f := root.PersistentFlags()
	f.StringVar(&a.flags.coordinator, "coordinator", "", "the coordinator's `ADDRESS`, host:port or unix:///path (default $CASEMATE_COORDINATOR, the context file, "+defaultCoordinator+")")
	f.StringVar(&a.flags.org, "org", "", "the `ORG` (default $CASEMATE_ORG, the context file, "+defaultOrg+")")
	f.StringVarP(&a.flags.output, "output", "o", "table", "the `FORMAT` of results: table, json or yaml")
	f.DurationVar(&a.flags.timeout, "timeout", time.Minute, "how long one call to the coordinator may take; following has no limit of its own")
	f.BoolVar(&a.flags.noColor, "no-color", false, "no colours (also $NO_COLOR)")
	mustComplete(root, "output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	for _, g := range groups {
		root.AddCommand(g(a))
	}
	nameArguments(root)
	return root
}

func (a *app) checkGlobals() error {
	switch a.flags.output {
	case "table", "json", "yaml":
	default:
		return usagef("--output is table, json or yaml, not %q", a.flags.output)
	}
	if a.flags.timeout <= 0 {
		return usagef("--timeout must be more than 0")
	}
	return nil
}

// group makes a command that only holds others.
func group(use, short string, aliases []string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Aliases: aliases}
	c.AddCommand(subs...)
	asGroup(c)
	return c
}

// asGroup makes a command show its help when nothing follows, and refuse what it
// doesn't know.
func asGroup(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := ""
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text = ": did you mean " + near[0] + "?"
		}
		return usagef("%s has no command %q%s; see %s --help", cmd.CommandPath(), args[0], text, cmd.CommandPath())
	}
}

func mustComplete(c *cobra.Command, flag string, fn cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // the flag is named in this program and doesn't exist
	}
}
