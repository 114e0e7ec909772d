package cli

import (
	"maps"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
)

// maxKeyFile bounds a file of public keys, in bytes.
const maxKeyFile = 32 * 16384

// specFlags are the flags that make a ContainerSpec. A list flag replaces the
// saved list; one that isn't given keeps it.
type specFlags struct {
	repo, tag, domain, host        string
	variables, secrets, keyFiles   []string
	noVariables, noSecrets, noKeys bool
	debug                          bool
}

// register adds the flags. Those that a change can't touch (repository and
// domain) are added for new containers only, and the ways to clear a list where
// there is a saved one.
func (s *specFlags) register(a *app, c *cobra.Command, fresh, saved bool) {
	f := c.Flags()
	f.StringVar(&s.tag, "tag", "", "the release's Git `TAG`")
	f.StringArrayVar(&s.variables, "variable", nil, "`K=V`, a value for a variable that the config declares as open; repeat for more")
	f.StringSliceVar(&s.secrets, "secret", nil, "the `NAME` of a secret to give to the container; repeat for more")
	f.StringArrayVar(&s.keyFiles, "ssh-key", nil, "a `FILE` of SSH public keys, for a debug enclave; repeat for more")
	f.BoolVar(&s.debug, "debug", false, "debug enclaves: a shell inside, other measurements, never production")
	f.StringVar(&s.host, "host", "", "run on this `HOST` only; empty means any")
	if fresh {
		f.StringVar(&s.repo, "repo", "", "the `URL` of the Git repository: https, ssh, or a path where the coordinator allows it")
		f.StringVar(&s.domain, "custom-domain", "", "the `DOMAIN` to serve (default NAME.ORG.<the coordinator's base domain>)")
	}
	if saved {
		f.BoolVar(&s.noVariables, "no-variables", false, "give no variables any more")
		f.BoolVar(&s.noSecrets, "no-secrets", false, "give no secrets any more")
		f.BoolVar(&s.noKeys, "no-ssh-keys", false, "give no SSH keys any more")
		c.MarkFlagsMutuallyExclusive("variable", "no-variables")
		c.MarkFlagsMutuallyExclusive("secret", "no-secrets")
		c.MarkFlagsMutuallyExclusive("ssh-key", "no-ssh-keys")
	}
	mustComplete(c, "tag", a.completeTags)
	mustComplete(c, "secret", a.completeSecrets)
	mustComplete(c, "host", a.completeHosts)
}

// maskFlags names the field of ContainerSpec that a flag is about.
var maskFlags = map[string]string{
	"repo": "repository", "tag": "tag", "variable": "variables", "no-variables": "variables",
	"secret": "secrets", "no-secrets": "secrets", "ssh-key": "ssh_keys", "no-ssh-keys": "ssh_keys",
	"debug": "debug", "custom-domain": "domain", "host": "host",
}

// spec returns what the flags say, and which fields they are about.
func (s *specFlags) spec(a *app, flags *pflag.FlagSet) (*cv1.ContainerSpec, *fieldmaskpb.FieldMask, error) {
	variables, err := pairs(s.variables)
	if err != nil {
		return nil, nil, err
	}
	var keys []string
	for _, file := range s.keyFiles {
		more, err := a.publicKeys(file)
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, more...)
	}
	spec := &cv1.ContainerSpec{
		Repository: s.repo, Tag: s.tag, Variables: variables, Secrets: s.secrets,
		Debug: s.debug, SshKeys: keys, Domain: s.domain, Host: s.host,
	}
	mask := &fieldmaskpb.FieldMask{}
	flags.Visit(func(f *pflag.Flag) {
		if field, ok := maskFlags[f.Name]; ok {
			mask.Paths = append(mask.Paths, field)
		}
	})
	if flags.Changed("tag") && s.tag == "" {
		return nil, nil, usagef("--tag is empty: name a tag, or leave the flag out to keep the saved one")
	}
	return spec, mask, nil
}

// pairs reads K=V.
func pairs(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, item := range list {
		k, v, ok := strings.Cut(item, "=")
		if !ok || k == "" {
			return nil, usagef("--variable %q is not K=V; to give none, use --no-variables", item)
		}
		if _, twice := out[k]; twice {
			return nil, usagef("--variable %s is given twice", k)
		}
		out[k] = v
	}
	return maps.Clone(out), nil
}

// publicKeys reads a file of public keys, one a line, as in authorized_keys.
func (a *app) publicKeys(file string) ([]string, error) {
	text, err := a.read(file, maxKeyFile)
	if err != nil {
		return nil, usagef("--ssh-key: %w", err)
	}
	if strings.Contains(string(text), "PRIVATE KEY") {
		return nil, usagef("--ssh-key %s is a private key: give the public one, usually %s.pub", file, file)
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, usagef("--ssh-key %s holds no key", file)
	}
	return keys, nil
}

// optionFlags are the flags that make UpdateOptions.
type optionFlags struct {
	strategy, drain, start                  string
	hold, allowDowntime, restore, supersede bool
}

func (o *optionFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.strategy, "strategy", "", "`STRATEGY`: blue-green or replace; one that can't be had is refused (default: the planner chooses)")
	f.BoolVar(&o.hold, "hold", false, "wait for update accept once the candidate is ready; blue-green only")
	f.BoolVar(&o.allowDowntime, "allow-downtime", false, "accept downtime where it can't be avoided")
	f.BoolVar(&o.restore, "restore-on-failure", false, "bring the previous revision back if a replace fails")
	f.BoolVar(&o.supersede, "supersede", false, "cancel an update that is in progress and take its place")
	f.StringVar(&o.drain, "drain-timeout", "", "how long connections to the old version may go on, a `DURATION` (default 30s)")
	f.StringVar(&o.start, "start-timeout", "", "how long the candidate may take from running to healthy, a `DURATION` (default: what the health checks need, at least 30m)")
	mustComplete(c, "strategy", cobra.FixedCompletions([]string{"blue-green", "replace"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *optionFlags) options() (*cv1.UpdateOptions, error) {
	out := &cv1.UpdateOptions{
		Hold: o.hold, AllowDowntime: o.allowDowntime,
		RestoreOnFailure: o.restore, Supersede: o.supersede,
	}
	switch o.strategy {
	case "":
	case "blue-green":
		out.Strategy = cv1.Strategy_STRATEGY_BLUE_GREEN
	case "replace":
		out.Strategy = cv1.Strategy_STRATEGY_REPLACE
	default:
		return nil, usagef("--strategy is blue-green or replace, not %q", o.strategy)
	}
	var err error
	if out.DrainTimeout, err = limit("--drain-timeout", o.drain); err != nil {
		return nil, err
	}
	out.StartTimeout, err = limit("--start-timeout", o.start)
	return out, err
}

// limit reads a duration of at most a day, as the API allows; empty means the
// coordinator's default.
func limit(flag, text string) (*durationpb.Duration, error) {
	if text == "" {
		return nil, nil
	}
	d, err := parseLimit(text)
	if err != nil {
		return nil, usagef("%s %q: give a duration such as 90s or 10m, up to 24h", flag, text)
	}
	return durationpb.New(d), nil
}
