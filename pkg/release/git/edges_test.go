package git

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

func TestTagsOfTagsArePeeled(t *testing.T) {
	f := newFixture(t)
	commit := f.commit(one("casemate.yml", configText))
	f.tag("v1", commit, true)
	inner, err := f.repo.Tag("v1")
	f.check(err)
	f.tag("outer", inner.Hash(), true)
	r := newResolver(t, Config{LocalPaths: true})
	got, err := r.Resolve(context.Background(), Request{Repository: f.dir, Tag: "outer"})
	if err != nil || got.Commit != commit.String() {
		t.Errorf("got %+v, %v; want %s", got, err, commit)
	}
}

func TestATagMayNameNoCommit(t *testing.T) {
	f := newFixture(t)
	commit, err := f.repo.CommitObject(f.commit(one("casemate.yml", configText)))
	f.check(err)
	f.check(f.repo.Storer.SetReference(plumbing.NewHashReference("refs/tags/tree", commit.TreeHash)))
	f.check(f.repo.Storer.SetReference(plumbing.NewHashReference("refs/tags/gone", plumbing.NewHash(strings.Repeat("9", 40)))))
	r := newResolver(t, Config{LocalPaths: true})
	for _, tag := range []string{"tree", "gone"} {
		if _, err := r.Resolve(context.Background(), Request{Repository: f.dir, Tag: tag}); !errors.Is(err, ErrNoTag) || !strings.Contains(err.Error(), "names no commit") {
			t.Errorf("the tag %s: %v", tag, err)
		}
	}
}

func TestARepositoryWithoutTagsSaysSo(t *testing.T) {
	f := newFixture(t)
	f.commit(one("casemate.yml", configText))
	_, err := newResolver(t, Config{LocalPaths: true}).Resolve(context.Background(), Request{Repository: f.dir, Tag: "v1"})
	if !errors.Is(err, ErrNoTag) || !strings.Contains(err.Error(), "make one and push it") {
		t.Errorf("got %v", err)
	}
}

func TestABareRepositoryIsRead(t *testing.T) {
	f := newFixture(t)
	f.tag("v1", f.commit(one("casemate.yml", configText)), true)
	bare := filepath.Join(f.dir, ".git")
	if _, err := newResolver(t, Config{LocalPaths: true}).Resolve(context.Background(), Request{Repository: bare, Tag: "v1"}); err != nil {
		t.Error(err)
	}
}

func TestRedirectsStayOnAllowedHosts(t *testing.T) {
	r := newResolver(t, Config{AllowHost: func(host string) error {
		if host != "git.example" {
			return errors.New("not ours")
		}
		return nil
	}})
	to := func(raw string) *http.Request {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{URL: u}
	}
	for _, tc := range []struct {
		rule, to string
		hops     int
		allowed  bool
	}{
		{"the same host", "https://git.example/other", 1, true},
		{"another port", "https://git.example:8443/other", 1, true},
		{"an address in brackets", "https://[::1]:443/other", 1, false},
		{"another host", "https://169.254.169.254/latest", 1, false},
		{"plain http", "http://git.example/other", 1, false},
		{"too many", "https://git.example/other", maxRedirects + 1, false},
	} {
		if err := r.redirect(to(tc.to), make([]*http.Request, tc.hops)); (err == nil) != tc.allowed {
			t.Errorf("%s: allowed %t, got %v", tc.rule, tc.allowed, err)
		}
	}
}

func TestVersionsAreOrderedByNumber(t *testing.T) {
	for _, tc := range [][2]string{{"v1.9.0", "v1.10.0"}, {"v1.2", "v1.2.1"}, {"1", "01a"}, {"a", "b"}, {"v9", "v10"}} {
		if compareVersions(tc[0], tc[1]) >= 0 || compareVersions(tc[1], tc[0]) <= 0 {
			t.Errorf("%s does not come before %s", tc[0], tc[1])
		}
	}
}

func TestBoundsMustNotBeNegative(t *testing.T) {
	for _, cfg := range []Config{{Timeout: -1}, {MaxPackBytes: -1}, {MaxUnpackedBytes: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
