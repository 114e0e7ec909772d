package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/view"
)

// maxSecret is the largest value, in bytes (secret.proto).
const maxSecret = 65536

func newSecret(a *app) *cobra.Command {
	return group("secret", "Keep secrets, which only verified enclaves are given", []string{"secrets"},
		newSecretList(a), newSecretGet(a), newSecretWrite(a, true), newSecretWrite(a, false), newSecretDelete(a))
}

func newSecretList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the org's secrets, without values", Args: cobra.NoArgs,
		Example: "  casemate secret list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.listSecrets(cmd.Context())
			if err != nil {
				return err
			}
			return results(a, list, view.View.Secrets)
		},
	}
}

func (a *app) listSecrets(ctx context.Context) ([]*cv1.Secret, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	return pages(func(token string) ([]*cv1.Secret, string, error) {
		r, err := call(ctx, a, l.secrets.ListSecrets, &cv1.ListSecretsRequest{Org: l.org, PageSize: pageSize, PageToken: token})
		return r.GetSecrets(), r.GetNextPageToken(), err
	})
}

func newSecretGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a secret: version, who is given it, who is stale; never the value", Args: cobra.ExactArgs(1),
		Example:           "  casemate secret get API_KEY",
		ValidArgsFunction: a.completeSecrets,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.connect()
			if err != nil {
				return err
			}
			r, err := call(cmd.Context(), a, l.secrets.GetSecret, &cv1.GetSecretRequest{Org: l.org, Name: args[0]})
			if err != nil {
				return err
			}
			return a.result(r.GetSecret(), func(v view.View) string { return v.Secret(r.GetSecret()) })
		},
	}
}

// newSecretWrite makes `create`, for a new secret, or `set`, for a new value.
func newSecretWrite(a *app, fresh bool) *cobra.Command {
	verb, short := "set", "Give a secret a new value; containers are stale until they are redeployed"
	if fresh {
		verb, short = "create", "Keep a new secret"
	}
	var file string
	c := &cobra.Command{
		Use: verb + " NAME", Short: short,
		Long: short + `.

The value comes from stdin, from --value-file, or, on a terminal, from a question
without echo. It is never an argument: arguments can be read by everyone on the
machine, and shells keep them. One line end at the end is left out.`,
		Example: fmt.Sprintf("  casemate secret %s API_KEY\n  casemate secret %s API_KEY --value-file key.txt\n  pass show api-key | casemate secret %s API_KEY", verb, verb, verb),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return usagef("a value is never an argument, where others can read it: choose another value, and give it on stdin or with --value-file")
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		ValidArgsFunction: a.completeSecrets,
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := a.secretValue(file, args[0])
			if err != nil {
				return err
			}
			s, err := a.writeSecret(cmd.Context(), args[0], value, fresh)
			if err != nil {
				return err
			}
			return a.result(s, func(v view.View) string { return v.Secret(s) })
		},
	}
	c.Flags().StringVar(&file, "value-file", "", "read the value from this `FILE`; - is stdin")
	return c
}

func (a *app) writeSecret(ctx context.Context, name string, value []byte, fresh bool) (*cv1.Secret, error) {
	l, err := a.connect()
	if err != nil {
		return nil, err
	}
	if fresh {
		r, err := call(ctx, a, l.secrets.CreateSecret, &cv1.CreateSecretRequest{Org: l.org, Name: name, Value: value, RequestId: a.env.NewID()})
		return r.GetSecret(), err
	}
	r, err := call(ctx, a, l.secrets.SetSecret, &cv1.SetSecretRequest{Org: l.org, Name: name, Value: value, RequestId: a.env.NewID()})
	return r.GetSecret(), err
}

// secretValue reads the value from where it was said to be.
func (a *app) secretValue(file, name string) ([]byte, error) {
	value, err := a.readValue(file, name)
	if err != nil {
		return nil, err
	}
	value = bytes.TrimSuffix(value, []byte("\n"))
	value = bytes.TrimSuffix(value, []byte("\r"))
	switch {
	case len(value) == 0:
		return nil, usagef("the value is empty")
	case len(value) > maxSecret:
		return nil, usagef("the value is larger than %d bytes", maxSecret)
	}
	return value, nil
}

func (a *app) readValue(file, name string) ([]byte, error) {
	switch {
	case file != "" && file != "-":
		value, err := a.read(file, maxSecret+2)
		if err != nil {
			return nil, usagef("--value-file: %w", err)
		}
		return value, nil
	case !a.env.InTerminal || file == "-":
		value, err := io.ReadAll(io.LimitReader(a.env.In, maxSecret+3))
		if err != nil {
			return nil, fmt.Errorf("read the value from stdin: %w", err)
		}
		return value, nil
	}
	if _, err := fmt.Fprintf(a.env.Err, "value of %s (not shown): ", view.Name(name)); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	value, err := a.env.ReadPassword()
	_, _ = fmt.Fprintln(a.env.Err)
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	return value, nil
}

func newSecretDelete(a *app) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete a secret and all its versions; refused while a container is given it", Args: cobra.ExactArgs(1),
		Example:           "  casemate secret delete API_KEY",
		ValidArgsFunction: a.completeSecrets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteSecret(cmd.Context(), args[0], yes)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return c
}

func (a *app) deleteSecret(ctx context.Context, name string, yes bool) error {
	if err := a.canAsk(yes, "deletes"); err != nil {
		return err
	}
	l, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := call(ctx, a, l.secrets.DeleteSecret, &cv1.DeleteSecretRequest{Org: l.org, Name: name, ValidateOnly: true}); err != nil {
		return err
	}
	if !yes {
		if err := a.confirm(ctx, "Delete secret "+view.Name(name)+" and all its versions?"); err != nil {
			return err
		}
	}
	r, err := call(ctx, a, l.secrets.DeleteSecret, &cv1.DeleteSecretRequest{Org: l.org, Name: name, RequestId: a.env.NewID()})
	if err != nil {
		return err
	}
	return a.result(r, func(view.View) string { return "secret " + view.Name(name) + " is deleted\n" })
}
