package git

import (
	"errors"
	"strings"
	"testing"
)

func TestAddressesThatAreAccepted(t *testing.T) {
	for raw, want := range map[string]string{
		"https://github.com/acme/app":           "https://github.com/acme/app",
		"https://git.example:8443/acme/app.git": "https://git.example:8443/acme/app.git",
		"ssh://git@git.example/acme/app":        "ssh://git@git.example/acme/app",
		"git@github.com:acme/app.git":           "ssh://git@github.com/acme/app.git",
		"git.example:acme/app":                  "ssh://git.example/acme/app",
		"/srv/git/app":                          "/srv/git/app",
		"file:///srv/git/app":                   "/srv/git/app",
	} {
		got, err := parseAddress(raw)
		if err != nil || got.String() != want {
			t.Errorf("%s is %q (%v), want %s", raw, got, err, want)
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for _, tc := range []struct{ rule, raw, reason string }{
		{"nothing", "", "empty"},
		{"an option", "--upload-pack=touch /tmp/x", "option"},
		{"a remote helper", "ext::sh -c touch% /tmp/x", "remote helpers"},
		{"a helper before a URL", "fd::17/https://a.example/x", "remote helpers"},
		{"a token for an account", "https://hunter2@git.example/acme/app", "credentials"},
		{"a password", "https://bot:hunter2@git.example/acme/app", "credentials"},
		{"a password of ssh", "ssh://git:hunter2@git.example/acme/app", "credentials"},
		{"a password in a broken URL", "https://bot:hunter2@[::bad/acme", "not allowed"},
		{"a password in another broken URL", "https://bot:hunter2@%zz/acme", "not a URL"},
		{"plain http", "http://git.example/acme/app", "only https"},
		{"the git protocol", "git://git.example/acme/app", "only https"},
		{"an option for a host", "ssh://-oProxyCommand=x/acme", "host name"},
		{"an option for a host, short", "-oProxyCommand=x:acme", "option"},
		{"an option for an account", "ssh://-x@git.example/acme", "account"},
		{"an option for a path", "ssh://git@git.example/-x", "shell"},
		{"a quote in a path", "ssh://git@git.example/a'b", "shell"},
		{"no path", "https://git.example/", "path"},
		{"dots in a path", "https://git.example/a/../b", "path"},
		{"a query", "https://git.example/a?token=hunter2", "query"},
		{"a fragment", "https://git.example/a#hunter2", "query"},
		{"a line break", "https://git.example/a\nb", "spaces"},
		{"a relative path", "../app", "absolute path"},
		{"a path with dots", "/srv/../etc", "absolute path"},
		{"a file on another machine", "file://host/srv", "only https"},
		{"a name in another script", "https://gіthub.com/acme/app", "host name"},
		{"a very long one", "https://git.example/" + strings.Repeat("a", 3000), "at most 2048"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, err := parseAddress(tc.raw)
			if !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), tc.reason) {
				t.Fatalf("got %v, %v; want a refusal with %q", got, err, tc.reason)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a credential: %v", err)
			}
		})
	}
}

func TestTagNames(t *testing.T) {
	for _, tag := range []string{"v1.2.3", "release/2026-01", "v1+build", "日本"} {
		if err := CheckTag(tag); err != nil {
			t.Errorf("%q was refused: %v", tag, err)
		}
	}
	for _, tag := range []string{
		"", "-v1", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", `a\b`, "a.lock", ".a", "a.", "a//b", "/a", "a/",
		"a@{1}", "a\x00", "a\n", "refs/tags/v1", strings.Repeat("a", 256), "\xff",
	} {
		if err := CheckTag(tag); !errors.Is(err, ErrTagName) {
			t.Errorf("%q: got %v, want it refused", tag, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, raw := range []string{"a:b?d", "file:///a%3a%3ab", "https://a.example/b", "git@a.example:b", "ext::x", "/a", "file:///a", "ssh://a:b@c/d", "-x"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseAddress(raw)
		if err != nil {
			if !errors.Is(err, ErrAddress) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := parseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q became %q, which is %+v (%v), not %+v", raw, a, again, err, a)
		}
	})
}

func FuzzTag(f *testing.F) {
	for _, tag := range []string{"v1.2.3", "a..b", "-x", "a/b", "@"} {
		f.Add(tag, "v1.2.4")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if err := CheckTag(a); err == nil && strings.ContainsAny(a, " ~^:?*[\\\x00\n") {
			t.Fatalf("%q was taken", a)
		}
		if compareVersions(a, b) > 0 != (compareVersions(b, a) < 0) {
			t.Fatalf("%q and %q have no order", a, b)
		}
		if near := (tagSet{a: {}, b: {}}).near(b); len(near) > 2 {
			t.Fatalf("near is %v", near)
		}
	})
}
