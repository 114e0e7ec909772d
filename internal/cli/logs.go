package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

func newContainerLogs(a *app) *cobra.Command {
	req := &cv1.StreamLogsRequest{}
	c := &cobra.Command{
		Use: "logs NAME", Short: "Print the console log of a container's enclave", Args: cobra.ExactArgs(1),
		Long: `Print the console log of the enclave that serves, or else of the candidate. The
bytes are the guest's: on a terminal, escape sequences and control characters are
dropped; into a file or pipe they go as they are.`,
		Example: `  casemate container logs web --tail 100 --follow
  casemate container logs web --enclave 0f3b-r4-7 > console.log`,
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.TailLines < 0 || req.TailLines > 100000 {
				return usagef("--tail is a number of lines up to 100000")
			}
			req.Name = args[0]
			return a.logs(cmd.Context(), req)
		},
	}
	c.Flags().BoolVarP(&req.Follow, "follow", "f", false, "go on with what is written from now on")
	c.Flags().Int32Var(&req.TailLines, "tail", 0, "only the last `N` lines; 0 means everything that is kept")
	c.Flags().StringVar(&req.Enclave, "enclave", "", "the enclave's `ID`")
	return c
}

func (a *app) logs(ctx context.Context, req *cv1.StreamLogsRequest) error {
	if a.machine() {
		return usagef("logs are printed as they are: leave -o out")
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	req.Org = l.org
	stream, err := l.containers.StreamLogs(ctx, req)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	out := a.env.Out
	if a.env.OutTerminal {
		out = terminal.NewFilter(a.env.Out)
	}
	from := ""
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if ctx.Err() != nil {
			return told(ExitOK, "interrupted")
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if id := m.GetEnclave(); id != from && id != "" {
			from = id
			_, _ = fmt.Fprintln(a.env.Err, "log of enclave "+view.Name(id))
		}
		if _, err := out.Write(m.GetChunk()); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}
