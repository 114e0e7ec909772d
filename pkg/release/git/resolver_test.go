package git

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/casemate-dev/casemate/pkg/release"
)

func TestTagsResolveToTheirCommit(t *testing.T) {
	f := newFixture(t)
	first := f.commit(one("casemate.yml", configText))
	f.tag("v1.0.0", first, false)
	f.tag("v1.0.1", first, true)
	second := f.commit(one("tinfoil-config.yml", configText+"gpus: 0\n"))
	f.tag("v2.0.0", second, true)
	remote := newServer(t, f)
	for _, at := range []struct {
		name, url string
		resolver  *Resolver
	}{
		{"a local path", f.dir, newResolver(t, Config{LocalPaths: true})},
		{"a file URL", "file://" + f.dir, newResolver(t, Config{LocalPaths: true})},
		{"https", remote.URL + "/acme/app", newResolver(t, remote.config())},
	} {
		for _, tc := range []struct{ tag, commit, name, content string }{
			{"v1.0.0", first.String(), "casemate.yml", configText},
			{"v1.0.1", first.String(), "casemate.yml", configText},
			{"v2.0.0", second.String(), "tinfoil-config.yml", configText + "gpus: 0\n"},
		} {
			t.Run(at.name+" "+tc.tag, func(t *testing.T) {
				got, err := at.resolver.Resolve(context.Background(), Request{Repository: at.url, Tag: tc.tag})
				if err != nil {
					t.Fatal(err)
				}
				if got.Commit != tc.commit || got.ConfigName != tc.name || string(got.Content) != tc.content || got.Tag != tc.tag {
					t.Errorf("got %+v, want %+v", got, tc)
				}
			})
		}
	}
}

func TestOnlyOneCommitIsAskedForWhereTheServerCan(t *testing.T) {
	f := newFixture(t)
	f.tag("v1", f.commit(one("casemate.yml", configText)), true)
	s := newServer(t, f)
	s.shallow = true
	if _, err := newResolver(t, s.config()).Resolve(context.Background(), Request{Repository: s.URL + "/acme/app", Tag: "v1"}); err != nil {
		t.Fatal(err)
	}
	if s.asked.Load() != 1 {
		t.Error("the whole history was fetched")
	}
}

func TestReleaseParsesTheConfig(t *testing.T) {
	f := newFixture(t)
	good := f.commit(one("casemate.yml", configText))
	f.tag("good", good, false)
	f.tag("bad", f.commit(one("casemate.yml", "cpus: two\n")), false)
	r := newResolver(t, Config{LocalPaths: true})
	got, warnings, err := r.Release(context.Background(), Request{Repository: f.dir, Tag: "good"})
	if err != nil || len(warnings) != 1 {
		t.Fatalf("err %v, warnings %v", err, warnings)
	}
	if got.Commit != good.String() || got.Config.CPUs != 2 || got.Repository != f.dir || got.ConfigName != "casemate.yml" {
		t.Errorf("got %+v", got)
	}
	_, _, err = r.Release(context.Background(), Request{Repository: f.dir, Tag: "bad"})
	var refused *release.ParseError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "casemate.yml:1:7: cpus") {
		t.Errorf("a refused config gives %v", err)
	}
}

func TestWhatResolveRefuses(t *testing.T) {
	f := newFixture(t)
	plain := f.commit(one("casemate.yml", configText))
	f.tag("v1.2.3", plain, true)
	f.tag("v1.10.0", plain, false)
	f.tag("both", f.commit(map[string][]byte{"casemate.yml": []byte("a"), "tinfoil-config.yml": []byte("b")}), false)
	f.tag("none", f.commit(one("README.md", "hello")), false)
	f.tag("link", f.commit(map[string][]byte{"casemate.yml": nil}), false)
	f.tag("large", f.commit(one("casemate.yml", strings.Repeat("#", release.MaxFileBytes+1))), false)
	r := newResolver(t, Config{LocalPaths: true})
	for _, tc := range []struct {
		rule string
		req  Request
		want error
		text string
	}{
		{"a tag that is not there", Request{Tag: "v1.2.4"}, ErrNoTag, "did you mean v1.2.3, "},
		{"a tag far from all names the newest", Request{Tag: "zzzzzzzz"}, ErrNoTag, "v1.10.0, v1.2.3"},
		{"both config files", Request{Tag: "both"}, ErrTwoConfigs, "keep one"},
		{"no config file", Request{Tag: "none"}, ErrNoConfig, "casemate.yml or tinfoil-config.yml"},
		{"a link for a config file", Request{Tag: "link"}, ErrNoConfig, "not a plain file"},
		{"a config file over 1 MiB", Request{Tag: "large"}, ErrTooLarge, "1048577 bytes"},
		{"a tag that moved", Request{Tag: "v1.2.3", Commit: strings.Repeat("a", 40)}, ErrMoved, "make a new tag"},
		{"a pin that is no commit", Request{Tag: "v1.2.3", Commit: "main"}, ErrMoved, "40 lower-case hex"},
		{"a branch for a tag", Request{Tag: "master"}, ErrNoTag, "no tag"},
		{"a full reference", Request{Tag: "refs/heads/master"}, ErrTagName, "without refs/tags/"},
		{"a repository that is not there", Request{Repository: "/nowhere/at/all", Tag: "v1"}, ErrUnreachable, "/nowhere"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if tc.req.Repository == "" {
				tc.req.Repository = f.dir
			}
			_, err := r.Resolve(context.Background(), tc.req)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
	if _, err := r.Resolve(context.Background(), Request{Repository: f.dir, Tag: "v1.2.3", Commit: plain.String()}); err != nil {
		t.Errorf("a tag that stayed where it was pinned: %v", err)
	}
	if _, err := newResolver(t, Config{}).Resolve(context.Background(), Request{Repository: f.dir, Tag: "v1.2.3"}); !errors.Is(err, ErrAddress) {
		t.Errorf("a local path that is not allowed: %v", err)
	}
}

func TestTagsAreListedNewestFirst(t *testing.T) {
	f := newFixture(t)
	hash := f.commit(one("casemate.yml", configText))
	for _, tag := range []string{"v1.9.0", "v1.10.0", "v1.2.0", "beta"} {
		f.tag(tag, hash, tag == "v1.2.0")
	}
	got, err := newResolver(t, Config{LocalPaths: true}).Tags(context.Background(), f.dir)
	if want := []string{"v1.10.0", "v1.9.0", "v1.2.0", "beta"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("tags are %v, err %v; want %v", got, err, want)
	}
}

func TestServersThatMisbehave(t *testing.T) {
	f := newFixture(t)
	f.tag("v1", f.commit(one("casemate.yml", configText)), false)
	for _, tc := range []struct {
		rule string
		set  func(*fakeServer, *Config)
		path string
		want error
		text string
	}{
		{"no answer", func(s *fakeServer, c *Config) { s.hang = true; c.Timeout = 50 * time.Millisecond }, "/acme/app", ErrUnreachable, "no answer in time"},
		{"no such repository", func(*fakeServer, *Config) {}, "/acme/other", ErrUnreachable, "check the address"},
		{"a password is asked for", func(s *fakeServer, _ *Config) { s.password = "x" }, "/acme/app", ErrUnreachable, "who may read it"},
		{"a redirect away from https", func(*fakeServer, *Config) {}, "/acme/moved", ErrUnreachable, "changes scheme"},
		{"more bytes than are read", func(_ *fakeServer, c *Config) { c.MaxPackBytes = 20 }, "/acme/app", ErrTooLarge, "smaller repository"},
		{"more than may be unpacked", func(_ *fakeServer, c *Config) { c.MaxUnpackedBytes = 100 }, "/acme/app", ErrTooLarge, "unpacks to more than 100"},
		{"a host that is not allowed", func(_ *fakeServer, c *Config) { c.AllowHost = func(string) error { return errors.New("not ours") } }, "/acme/app", ErrAddress, "127.0.0.1 is not allowed: not ours"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			s := newServer(t, f)
			cfg := s.config()
			tc.set(s, &cfg)
			_, err := newResolver(t, cfg).Resolve(context.Background(), Request{Repository: s.URL + tc.path, Tag: "v1"})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestCredentialsAreSentAndNeverShown(t *testing.T) {
	f := newFixture(t)
	f.tag("v1", f.commit(one("casemate.yml", configText)), false)
	s := newServer(t, f)
	s.password = "hunter2"
	cfg := s.config()
	cfg.HTTPSAuth = &githttp.BasicAuth{Username: "bot", Password: "hunter2"}
	req := Request{Repository: s.URL + "/acme/app", Tag: "v1"}
	if _, err := newResolver(t, cfg).Resolve(context.Background(), req); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	cfg.HTTPSAuth = &githttp.BasicAuth{Username: "bot", Password: "hunter3"}
	_, err := newResolver(t, cfg).Resolve(context.Background(), req)
	if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "hunter") {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err := New(Config{HTTPSAuth: cfg.HTTPSAuth}); err == nil {
		t.Error("credentials for every host there is were taken")
	}
}

func TestSSHNeedsAKey(t *testing.T) {
	_, err := newResolver(t, Config{}).Resolve(context.Background(), Request{Repository: "git@localhost:acme/app.git", Tag: "v1"})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no ssh key is configured") {
		t.Errorf("got %v", err)
	}
}

func TestACancelledContextEndsTheCall(t *testing.T) {
	f := newFixture(t)
	f.tag("v1", f.commit(one("casemate.yml", configText)), false)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newResolver(t, Config{LocalPaths: true}).Resolve(ctx, Request{Repository: f.dir, Tag: "v1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
