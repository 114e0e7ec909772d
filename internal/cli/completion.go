package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

// completionTime is how long a shell may wait for names.
const completionTime = 2 * time.Second

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a completion script for a shell", Args: cobra.ExactArgs(1),
		Long: `Print a completion script for a shell. Names of containers, hosts and secrets, ids
of updates and known tags are asked from the coordinator as you type.`,
		Example: `  source <(casemate completion bash)
  casemate completion zsh > "${fpath[1]}/_casemate"
  casemate completion fish > ~/.config/fish/completions/casemate.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.env.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.env.Out)
			case "fish":
				return root.GenFishCompletion(a.env.Out, true)
			}
			return usagef("completion is for bash, zsh or fish, not %q", args[0])
		},
	}
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs, Example: "  casemate version",
		RunE: func(*cobra.Command, []string) error {
			if a.machine() {
				return a.structured([]byte(`{"version":"` + a.env.Version + `"}`))
			}
			return write(a.env.Out, "casemate "+a.env.Version+"\n")
		},
	}
}

// names asks for completions; what goes wrong is silence, not a broken prompt.
func names[T any](ctx context.Context, word string, list func(context.Context) ([]T, error), name func(T) string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	items, err := list(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	seen := map[string]bool{"": true}
	var out []cobra.Completion
	for _, item := range items {
		if n := view.Name(name(item)); !seen[n] && strings.HasPrefix(n, word) {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeContainer(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(cmd.Context(), word, a.listContainers, (*cv1.Container).GetName)
}

// completeContainerUpdate completes a container and then one of its updates.
func (a *app) completeContainerUpdate(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeContainer(cmd, args, word)
	}
	return names(cmd.Context(), word, func(ctx context.Context) ([]*cv1.Update, error) {
		return a.listUpdates(ctx, args[0])
	}, (*cv1.Update).GetId)
}

// completeTags completes the tags that a container has run.
func (a *app) completeTags(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(cmd.Context(), word, func(ctx context.Context) ([]*cv1.Revision, error) {
		return a.listRevisions(ctx, args[0])
	}, (*cv1.Revision).GetTag)
}

func (a *app) completeHosts(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names(cmd.Context(), word, a.listHosts, (*cv1.Host).GetName)
}

func (a *app) completeSecrets(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names(cmd.Context(), word, a.listSecrets, (*cv1.Secret).GetName)
}
