package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/policy"
)

// Bounds on the files of a verification, each above what the verifiers take: what
// lies between is refused by a check's name.
const (
	maxAttestEvidence    = 4 << 20
	maxAttestCertificate = 1 << 20
	maxAttestCRL         = 4 << 20
	maxAttestRoots       = 16
)

// attestVerify is one `attest verify`.
type attestVerify struct {
	*app
	format, evidence, vcek, chain, crl string
	collateral, rims, ocsp             string
	nonce, atText, policyFile          string
	roots                              []string

	at     time.Time
	policy *policy.Policy

	enclave enclavePins
}

// attestSpecial are the flags of one format or another, attestOf those of each.
var (
	attestSpecial = []string{"vcek", "chain", "crl", "root", "collateral", "rims", "ocsp", "nonce"}
	attestOf      = map[string][]string{
		string(attest.FormatSEVSNP): {"vcek", "chain", "crl", "root"},
		string(attest.FormatTDX):    {"collateral", "root"},
		string(attest.FormatNVIDIA): {"rims", "ocsp", "nonce", "root"},
	}
)

func newAttestVerify(a *app) *cobra.Command {
	v := &attestVerify{app: a}
	c := &cobra.Command{
		Use: "verify [https://NAME]", Short: "Say whether evidence in a file, or an enclave, is accepted, with every check", Args: cobra.MaximumNArgs(1),
		Long: `Say whether evidence in a file is accepted, offline, with every check by name; or,
with https://NAME, whether the enclave that serves there is.

Of evidence in a file, without --policy nothing is pinned: signatures, chains,
revocation, debug and, for TDX, the TCB are judged, and what was not compared is
listed. In a policy, a key that is left out is not compared here either, and listed.

An enclave is asked over TLS with a fresh nonce, and must run a release: that of a
signed manifest (--manifest and --signer; or --bundle, --trusted-root, --issuer and
--subject, if it is signed with Sigstore). Gateway, host and coordinator are not
trusted. Without --policy, hardware of all vendors is accepted,
and nothing lenient (docs/verify-from-outside.md).

Exit codes: 0 accepted; 1 refused; 2 arguments or files that can't be used, or an
enclave that gives no evidence.`,
		Example: `  casemate attest verify --format sev-snp --evidence report.bin --vcek vcek.der
  casemate attest verify --format tdx --evidence quote.bin --collateral ./pcs --policy policy.yaml -o json
  casemate attest verify --format nvidia --evidence gpu.json --rims ./rims --ocsp ./ocsp --nonce 931d8d…
  casemate attest verify https://api.example.com --manifest manifest.dsse.json --signer release.pub`,
		RunE: attestRun(v.run),
	}
	f := c.Flags()
	f.StringVar(&v.format, "format", "", "sev-snp, tdx or nvidia")
	f.StringVar(&v.evidence, "evidence", "", "the evidence: a raw report of 1184 bytes, a raw quote, or the GPUs' evidence in JSON")
	f.StringVar(&v.vcek, "vcek", "", "sev-snp: the VCEK or VLEK certificate, DER or PEM")
	f.StringVar(&v.chain, "chain", "", "sev-snp: the ASK or ASVK and ARK, PEM or DER (default those known here)")
	f.StringVar(&v.crl, "crl", "", "sev-snp: the revocation list, DER or PEM")
	f.StringArrayVar(&v.roots, "root", nil, "trust this root instead of the vendor's own (nvidia: beside them); DER or PEM, perhaps several in a file; repeatable")
	f.StringVar(&v.collateral, "collateral", "", "tdx: a folder with tcb_info.json, qe_identity.json, pck.crl, root.crl")
	f.StringVar(&v.rims, "rims", "", "nvidia: a folder with RIMs, ID.xml")
	f.StringVar(&v.ocsp, "ocsp", "", "nvidia: a folder with OCSP responses, *.der, *.dat, *.ocsp or *.b64")
	f.StringVar(&v.nonce, "nonce", "", "nvidia: the nonce that was asked with, 64 hex digits")
	f.StringVar(&v.atText, "at", "", "judge at this time, RFC 3339 (default now)")
	f.StringVar(&v.policyFile, "policy", "", "a policy file (docs/attestation.md)")
	v.enclave.flags(c, "https: ")
	mustComplete(c, "format", cobra.FixedCompletions([]string{"sev-snp", "tdx", "nvidia"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (v *attestVerify) run(cmd *cobra.Command) error {
	if args := cmd.Flags().Args(); len(args) == 1 {
		return v.runEnclave(cmd, args[0])
	}
	if err := attestOnly(cmd, "--format", enclaveFlags, nil); err != nil {
		return err
	}
	if err := v.prepare(cmd); err != nil {
		return err
	}
	evidence, err := v.attestFile("evidence", v.evidence, maxAttestEvidence)
	if err != nil {
		return err
	}
	judge := map[string]func([]byte) (*attest.Verdict, error){
		string(attest.FormatSEVSNP): v.judgeSNP,
		string(attest.FormatTDX):    v.judgeTDX,
		string(attest.FormatNVIDIA): v.judgeNVIDIA,
	}[v.format]
	verdict, err := judge(evidence)
	if err != nil {
		return err
	}
	return v.answer(verdict)
}

// runEnclave is verify of an enclave at an address.
func (v *attestVerify) runEnclave(cmd *cobra.Command, address string) error {
	if _, _, err := enclaveAddress(address); err != nil {
		return err
	}
	if err := attestOnly(cmd, "https://", append([]string{"format", "evidence", "at"}, attestSpecial...), nil); err != nil {
		return err
	}
	v.enclave.policy = v.policyFile
	client, refused, err := v.openEnclave(cmd.Context(), &v.enclave, address)
	if err != nil {
		return err
	}
	defer client.close()
	if refused == nil {
		proof, err := client.Verify(cmd.Context())
		if err != nil {
			return err
		}
		refused = proof.Verdict
	}
	return v.answer(refused)
}

// answer shows a verdict and makes the exit code of it.
func (a *app) answer(v *attest.Verdict) error {
	if err := a.showVerdict(v); err != nil {
		return err
	}
	if !v.Accepted {
		return told(ExitFailed, "the evidence is refused")
	}
	return nil
}

// prepare checks the flags and reads time and policy.
func (v *attestVerify) prepare(cmd *cobra.Command) error {
	allowed, ok := attestOf[v.format]
	switch {
	case !ok:
		return usagef("--format is sev-snp, tdx or nvidia, not %q", v.format)
	case v.evidence == "":
		return usagef("--evidence names the file with the evidence; it is missing")
	}
	if err := attestOnly(cmd, "--format "+v.format, attestSpecial, allowed); err != nil {
		return err
	}
	v.at = v.env.Now()
	if cmd.Flags().Changed("at") {
		at, err := time.Parse(time.RFC3339, v.atText)
		if err != nil {
			return usagef("--at is a time like 2026-02-01T00:00:00Z: %w", err)
		}
		v.at = at
	}
	return v.readPolicy(cmd)
}

func (v *attestVerify) readPolicy(cmd *cobra.Command) error {
	v.policy = policy.Look()
	if !cmd.Flags().Changed("policy") {
		return nil
	}
	text, err := v.attestFile("policy", v.policyFile, policy.MaxFileBytes)
	if err != nil {
		return err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return usagef("--policy %s: %w", v.policyFile, err)
	}
	p.PermitUnpinned()
	v.policy = p
	return nil
}

// showVerdict prints a verdict: for programs as it is, for people as a table.
func (a *app) showVerdict(v *attest.Verdict) error {
	if !a.machine() {
		return write(a.env.Out, verdictTable(v, a.view(a.env.OutTerminal).Style))
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the verdict: %w", err)
	}
	return a.structured(data)
}
