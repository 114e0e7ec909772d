package git

import (
	"bytes"
	"context"
	"errors"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// attached makes v1 with a manifest beside it.
func attached(t *testing.T, files Published) *fixture {
	t.Helper()
	f := newFixture(t)
	hash := f.commit(one("casemate.yml", configText))
	f.tag("v1", hash, true)
	f.tag("v2", hash, false)
	ref, err := Attach(f.dir, "v1", hash.String(), files, time.Unix(1_700_000_000, 0))
	if err != nil || ref != "refs/casemate/manifests/v1" {
		t.Fatalf("attached as %q, %v", ref, err)
	}
	return f
}

func same(a, b Published) bool {
	return bytes.Equal(a.Envelope, b.Envelope) && bytes.Equal(a.Plain, b.Plain) && bytes.Equal(a.Bundle, b.Bundle)
}

// realServer serves a repository with git's own server, as GitHub and others do.
func realServer(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
	})
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}

func TestAManifestIsReadBesideItsTag(t *testing.T) {
	want := Published{Envelope: []byte("envelope"), Plain: []byte("plain"), Bundle: []byte("bundle")}
	f := attached(t, want)
	fake, sshd := newServer(t, f), newSSH(t, f, false)
	shallow := newServer(t, f)
	shallow.shallow = true
	git := realServer(t, f.dir)
	trusting := func(s *httptest.Server) Config {
		return Config{Transport: s.Client().Transport, AllowHost: func(string) error { return nil }}
	}
	for _, at := range []struct {
		name, url string
		resolver  *Resolver
	}{
		{"a local path", f.dir, newResolver(t, Config{LocalPaths: true})},
		{"https", fake.URL + "/acme/app", newResolver(t, fake.config())},
		{"https, shallow", shallow.URL + "/acme/app", newResolver(t, shallow.config())},
		{"https of git itself", git.URL + "/" + filepath.Base(f.dir) + "/.git", newResolver(t, trusting(git))},
		{"ssh", "ssh://git@" + sshd.addr + "/acme/app", newResolver(t, Config{SSHAuth: sshd.auth(sshd.user, sshd.host.PublicKey())})},
	} {
		t.Run(at.name, func(t *testing.T) {
			got, err := at.resolver.Resolve(context.Background(), Request{Repository: at.url, Tag: "v1"})
			if err != nil || !same(got.Manifest, want) || string(got.Content) != configText {
				t.Errorf("got %+v, %v", got, err)
			}
			got, err = at.resolver.Resolve(context.Background(), Request{Repository: at.url, Tag: "v2"})
			if err != nil || !got.Manifest.IsZero() {
				t.Errorf("a tag without a manifest: got %+v, %v", got, err)
			}
		})
	}
}

func TestAttachingAgainTakesTheOthersPlace(t *testing.T) {
	f := attached(t, Published{Envelope: []byte("first")})
	hash, err := f.repo.ResolveRevision("v1^{commit}")
	f.check(err)
	want := Published{Plain: []byte("second")}
	_, err = Attach(f.dir, "v1", hash.String(), want, time.Unix(1_700_000_001, 0))
	f.check(err)
	got, err := newResolver(t, Config{LocalPaths: true}).Resolve(context.Background(), Request{Repository: f.dir, Tag: "v1"})
	if err != nil || !same(got.Manifest, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if out, err := exec.Command("git", "-C", f.dir, "fsck", "--strict").CombinedOutput(); err != nil {
		t.Errorf("git fsck: %v: %s", err, out)
	}
}

func TestWhatCantBeAttachedIsRefused(t *testing.T) {
	f := attached(t, Published{Envelope: []byte("first")})
	hash, err := f.repo.ResolveRevision("v1^{commit}")
	f.check(err)
	good := Published{Envelope: []byte("x")}
	for rule, c := range map[string]struct {
		dir, tag, commit string
		files            Published
		want             error
	}{
		"no repository":    {t.TempDir(), "v1", hash.String(), good, ErrUnreachable},
		"no such tag":      {f.dir, "v9", hash.String(), good, ErrNoTag},
		"no tag's name":    {f.dir, "../v1", hash.String(), good, ErrTagName},
		"another commit":   {f.dir, "v1", strings.Repeat("ab", 20), good, ErrMoved},
		"nothing":          {f.dir, "v1", hash.String(), Published{}, nil},
		"more than can be": {f.dir, "v1", hash.String(), Published{Bundle: make([]byte, MaxManifestBytes+1)}, ErrTooLarge},
	} {
		if _, err := Attach(c.dir, c.tag, c.commit, c.files, time.Now()); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", rule, err, c.want)
		}
	}
}

func TestAManifestThatCantBeReadIsNotTakenForNone(t *testing.T) {
	f := attached(t, Published{Envelope: []byte("first")})
	objects := f.repo.Storer
	blob, err := manifestTree(objects, Published{Envelope: []byte("x")})
	f.check(err)
	commitOf := func(tree *object.Tree) plumbing.Hash {
		hash, err := put(objects, plumbing.TreeObject, tree)
		f.check(err)
		made, err := put(objects, plumbing.CommitObject, &object.Commit{Author: *author, Committer: *author, TreeHash: hash})
		f.check(err)
		return made
	}
	large := objects.NewEncodedObject()
	large.SetType(plumbing.BlobObject)
	w, err := large.Writer()
	f.check(err)
	_, err = w.Write(make([]byte, MaxManifestBytes+1))
	f.check(errors.Join(err, w.Close()))
	tooLarge, err := objects.SetEncodedObject(large)
	f.check(err)
	for rule, hash := range map[string]plumbing.Hash{
		"a tree":           blob,
		"no such object":   plumbing.NewHash(strings.Repeat("ab", 20)),
		"no files":         commitOf(&object.Tree{}),
		"files of others":  commitOf(&object.Tree{Entries: []object.TreeEntry{{Name: "readme", Mode: filemode.Regular, Hash: tooLarge}}}),
		"too large a file": commitOf(&object.Tree{Entries: []object.TreeEntry{{Name: EnvelopeFile, Mode: filemode.Regular, Hash: tooLarge}}}),
		"a link":           commitOf(&object.Tree{Entries: []object.TreeEntry{{Name: EnvelopeFile, Mode: filemode.Symlink, Hash: tooLarge}}}),
		"a folder":         commitOf(&object.Tree{Entries: []object.TreeEntry{{Name: PlainFile, Mode: filemode.Dir, Hash: blob}}}),
	} {
		f.check(f.repo.Storer.SetReference(plumbing.NewHashReference(ManifestRefs+"v1", hash)))
		repo, err := gogit.PlainOpen(f.dir)
		f.check(err)
		if _, err := repo.Reference(ManifestRefs+"v1", false); err != nil {
			t.Fatal(err)
		}
		_, err = newResolver(t, Config{LocalPaths: true}).Resolve(context.Background(), Request{Repository: f.dir, Tag: "v1"})
		if !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v, want ErrManifest", rule, err)
		}
	}
}
