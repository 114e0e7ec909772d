package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/internal/cli/tunnel"
	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/enclave/attested"
)

// connectRun is one `connect`.
type connectRun struct {
	*app
	pins     enclavePins
	listen   string
	port     uint16
	interval time.Duration
	grace    time.Duration

	tunnel *tunnel.Tunnel
}

func newConnect(a *app) *cobra.Command {
	r := &connectRun{app: a}
	c := &cobra.Command{
		Use: "connect NAME --port PORT", Short: "Listen on this machine, and pass connections on to an attested enclave", Args: cobra.ExactArgs(1),
		Long: `Listen on this machine, and pass connections on to an attested enclave: in the clear
here, over TLS from here into the enclave. NAME is a domain, or the name of a
container, whose domain the coordinator then tells.

The enclave is asked for evidence first, as attest verify https://NAME does; nothing
is listened for unless it is accepted. Connections go to the attested key and to no
other: when the key changes, and after --interval, the enclave is asked again before
anything passes. On a refusal nothing passes, the reason is printed, and the local
connection is reset. Ctrl-C ends it.

Whoever can reach the local port talks to the enclave as you do. Name the enclave's
domain where the service behind it looks at it: curl -H 'Host: NAME'.

Exit codes: 0 ended by Ctrl-C; 1 refused, with the failed checks; 2 arguments or files
that can't be used, or an enclave that gives no evidence.`,
		Example: "  casemate connect api.example.com --port 8080 --manifest manifest.dsse.json --signer release.pub\n" +
			"  casemate connect api --port 8080 --repo https://github.com/acme/api --tag v1.2.3 --signer release.pub",
		RunE: attestRun(r.run),
	}
	f := c.Flags()
	f.Uint16Var(&r.port, "port", 0, "the local port; 0 takes any, which is printed")
	f.StringVar(&r.listen, "listen", "127.0.0.1", "the local address")
	f.DurationVar(&r.interval, "interval", attested.DefaultInterval, "how long a verdict counts")
	f.DurationVar(&r.grace, "grace", tunnel.DefaultGrace, "how long open connections may go on after Ctrl-C")
	f.StringVar(&r.pins.policy, "policy", "", "a policy file (default hardware of all vendors, nothing lenient)")
	r.pins.flags(c, "")
	return c
}

func (r *connectRun) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	ip := net.ParseIP(r.listen)
	switch {
	case !cmd.Flags().Changed("port"):
		return usagef("--port is missing: the local port to listen on, 0 for any")
	case ip == nil:
		return usagef("--listen is an IP address, not %.80q", r.listen)
	case r.interval < time.Second || r.grace <= 0:
		return usagef("--interval is at least 1s, --grace more than 0")
	}
	address, err := r.address(ctx, cmd.Flags().Arg(0))
	if err != nil {
		return err
	}
	client, refused, err := r.openEnclave(ctx, &r.pins, address)
	if err != nil {
		return err
	}
	if refused != nil {
		return r.answer(refused)
	}
	defer client.close()
	if !ip.IsLoopback() {
		r.tell("whoever reaches %s can use this tunnel, and reads along on the way there", r.listen)
	}
	return r.serve(ctx, client)
}

// address is the https address of a domain, or of a container by its name.
func (r *connectRun) address(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "https://") {
		return name, nil
	}
	if strings.ContainsAny(name, ".:/") {
		return "https://" + name, nil
	}
	c, err := r.getContainer(ctx, name)
	if err != nil {
		return "", &codeError{code: callCode(err), err: err}
	}
	if c.GetSpec().GetDomain() == "" {
		return "", failedf("the container %s has no domain", name)
	}
	r.tell("the coordinator says that %s is %s", name, c.GetSpec().GetDomain())
	return "https://" + c.GetSpec().GetDomain(), nil
}

// serve attests the enclave, listens, and passes connections on until ctx ends.
func (r *connectRun) serve(ctx context.Context, client *enclaveClient) error {
	var first *attest.Verdict
	dialer, err := attested.NewDialer(attested.DialerConfig{
		Client: client.Client, Interval: r.interval, Now: r.env.Now,
		Told: func(p *attested.Proof) {
			switch {
			case first == nil:
				first = p.Verdict
			case p.Verdict.Accepted:
				r.tell("attested again: %s with the key %x", client.domain, p.Key[:8])
			case r.tunnel != nil:
				r.tunnel.Cut(p.Key)
			}
		},
	})
	if err != nil {
		return err
	}
	if err := dialer.Verify(ctx); err != nil {
		if first != nil {
			return r.answer(first)
		}
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(r.listen, strconv.Itoa(int(r.port))))
	if err != nil {
		return err
	}
	again := time.NewTicker(r.interval)
	defer again.Stop()
	r.tunnel, err = tunnel.New(tunnel.Config{
		Listener: listener, Dialer: dialer, Again: again.C, Grace: r.grace, Refused: r.refused,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := r.ready(client.domain, listener.Addr().String(), first); err != nil {
		return errors.Join(err, listener.Close())
	}
	return r.tunnel.Run(ctx)
}

// opened is what connect says to programs once it listens.
type opened struct {
	Listen  string          `json:"listen"`
	Domain  string          `json:"domain"`
	Verdict *attest.Verdict `json:"verdict"`
}

// ready says that connections are taken.
func (r *connectRun) ready(domain, listen string, v *attest.Verdict) error {
	if r.machine() {
		data, err := json.Marshal(opened{listen, domain, v})
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		return r.structured(data)
	}
	if err := r.showVerdict(v); err != nil {
		return err
	}
	return write(r.env.Out, fmt.Sprintf("\n%s goes to %s; Ctrl-C ends it\n", listen, domain))
}

// refused says why a connection came to nothing.
func (r *connectRun) refused(err error) {
	r.tell("nothing passes: %v", err)
}

// tell says something on stderr, safe for a terminal.
func (r *connectRun) tell(format string, args ...any) {
	_ = write(r.env.Err, attestClean(fmt.Sprintf(format, args...))+"\n")
}
