package coordinator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casemate-dev/casemate/internal/yamlconfig"
)

// publicKey is of no use but to be read.
const publicKey = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

func configWith(t *testing.T, section string) (Config, error) {
	t.Helper()
	return yamlconfig.Parse[Config](yamlconfig.Source{Name: "c.yaml", Text: []byte("base_domain: apps.example.com\n" + section)})
}

func TestSignersThatMakeNoSenseAreRefused(t *testing.T) {
	for rule, c := range map[string]struct{ section, says string }{
		"nobody":            {"releases: {signers: [{orgs: [acme]}]}", "names nobody"},
		"a pattern":         {"releases: {signers: [{keys: [k], repositories: ['https://*.com/x']}]}", "neither an address"},
		"everything":        {"releases: {signers: [{keys: [k], repositories: ['/*']}]}", "neither an address"},
		"another downgrade": {"releases: {signers: [{keys: [k], downgrades: maybe}]}", "allow (the default) or refuse"},
		"no trusted root":   {"releases: {signers: [{identities: [{issuer: 'https://a', subject: b}]}]}", "trusted_root"},
		"a plain issuer":    {"releases: {sigstore: {trusted_root: r}, signers: [{identities: [{issuer: 'http://a', subject: b}]}]}", "not an https address"},
		"any subject":       {"releases: {sigstore: {trusted_root: r}, signers: [{identities: [{issuer: 'https://a', subject: 'https://github.com/*'}]}]}", "patterns are not taken"},
		"no time":           {"releases: {sigstore: {timeout: 0s}}", "more than 0"},
		"an unknown mode":   {"policy: {allow_insecure: [unsinged]}", "unsigned"},
	} {
		if _, err := configWith(t, c.section); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it refused with %q", rule, err, c.says)
		}
	}
}

func TestTheCheckReadsSignersKeys(t *testing.T) {
	dir := t.TempDir()
	good, junk, root := filepath.Join(dir, "good.pub"), filepath.Join(dir, "junk.pub"), filepath.Join(dir, "root.json")
	for name, text := range map[string]string{good: publicKey, junk: "junk", root: "{}"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for rule, c := range map[string]struct{ section, says string }{
		"good":         {"releases: {signers: [{keys: [" + good + "]}]}", ""},
		"junk":         {"releases: {signers: [{keys: [" + junk + "]}]}", "signers[0].keys"},
		"none there":   {"releases: {signers: [{keys: [" + good + "]}, {keys: [" + dir + "/none]}]}", "signers[1].keys"},
		"no root":      {"releases: {sigstore: {trusted_root: " + dir + "/none}}", "trusted_root"},
		"a root there": {"releases: {sigstore: {trusted_root: " + root + "}}", ""},
	} {
		_, err := configWith(t, c.section)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", rule, err, c.says)
		}
	}
}
