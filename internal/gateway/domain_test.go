package gateway

import (
	"strings"
	"testing"
)

func TestNormalizeDomain(t *testing.T) {
	label := strings.Repeat("a", maxLabel)
	longest := label + "." + label + "." + label + "." + label[:61]
	for _, c := range []struct {
		rule, in, want string
		bad            bool
	}{
		{rule: "lower case", in: "API.Example.ORG", want: "api.example.org"},
		{rule: "one trailing dot goes", in: "example.org.", want: "example.org"},
		{rule: "one label", in: "localhost", want: "localhost"},
		{rule: "digits and hyphens inside", in: "a-1.0b.x-2", want: "a-1.0b.x-2"},
		{rule: "punycode", in: "xn--bcher-kva.example", want: "xn--bcher-kva.example"},
		{rule: "longest label", in: label + ".org", want: label + ".org"},
		{rule: "longest name", in: longest, want: longest},
		{rule: "a name too long", in: longest + "a", bad: true},
		{rule: "a label too long", in: label + "a.org", bad: true},
		{rule: "empty", in: "", bad: true},
		{rule: "only a dot", in: ".", bad: true},
		{rule: "two trailing dots", in: "a.org..", bad: true},
		{rule: "empty label", in: "a..org", bad: true},
		{rule: "leading dot", in: ".org", bad: true},
		{rule: "leading hyphen", in: "-a.org", bad: true},
		{rule: "trailing hyphen", in: "a.org-", bad: true},
		{rule: "label ends in a hyphen", in: "a-.org", bad: true},
		{rule: "underscore", in: "a_b.org", bad: true},
		{rule: "wildcard", in: "*.org", bad: true},
		{rule: "space", in: "a b.org", bad: true},
		{rule: "null byte", in: "a\x00.org", bad: true},
		{rule: "not ASCII", in: "bücher.example", bad: true},
		{rule: "IPv4 address", in: "192.0.2.1", bad: true},
		{rule: "IPv6 address", in: "[2001:db8::1]", bad: true},
		{rule: "number as the last label", in: "a.1", bad: true},
	} {
		got, err := NormalizeDomain(c.in)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: %q became %q, %v; want %q, refused %v", c.rule, c.in, got, err, c.want, c.bad)
		}
	}
}

func FuzzNormalizeDomainIsStable(f *testing.F) {
	for _, s := range []string{"a.org", "A.ORG.", "1.2.3.4", "-", "a-.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := NormalizeDomain(s)
		if err != nil {
			return
		}
		if again, err := NormalizeDomain(once); err != nil || again != once {
			t.Errorf("%q became %q, then %q, %v", s, once, again, err)
		}
		if len(once) > maxDomain || strings.ToLower(once) != once {
			t.Errorf("%q is not in normal form", once)
		}
	})
}
