package git

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// configText is a config that the parser takes.
var configText = "cvm-version: 0.14.12\ncpus: 2\nmemory: 8192\ncontainers:\n  - name: app\n    image: ghcr.io/acme/app@sha256:" +
	strings.Repeat("3", 64) + "\nshim:\n  upstream-port: 8000\n"

// fixture is a repository on disk.
type fixture struct {
	t    testing.TB
	dir  string
	repo *gogit.Repository
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	dir := t.TempDir()
	repo, err := gogit.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, dir, repo}
}

var author = &object.Signature{Name: "Acme", Email: "dev@acme.example", When: time.Unix(1_700_000_000, 0)}

// commit makes a commit that holds exactly these files; a nil content is a
// symbolic link to nowhere.
func (f *fixture) commit(files map[string][]byte) plumbing.Hash {
	f.t.Helper()
	tree, err := f.repo.Worktree()
	f.check(err)
	old, err := os.ReadDir(f.dir)
	f.check(err)
	for _, entry := range old {
		if entry.Name() != ".git" {
			_, err := tree.Remove(entry.Name())
			f.check(err)
		}
	}
	for name, content := range files {
		if content == nil {
			f.check(os.Symlink("/etc/passwd", filepath.Join(f.dir, name)))
		} else {
			f.check(os.WriteFile(filepath.Join(f.dir, name), content, 0o600))
		}
		_, err := tree.Add(name)
		f.check(err)
	}
	hash, err := tree.Commit("change", &gogit.CommitOptions{Author: author, AllowEmptyCommits: true})
	f.check(err)
	return hash
}

// tag makes a light tag, or an annotated one.
func (f *fixture) tag(name string, hash plumbing.Hash, annotated bool) {
	f.t.Helper()
	var options *gogit.CreateTagOptions
	if annotated {
		options = &gogit.CreateTagOptions{Tagger: author, Message: name}
	}
	_, err := f.repo.CreateTag(name, hash, options)
	f.check(err)
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func one(name, content string) map[string][]byte { return map[string][]byte{name: []byte(content)} }

func newResolver(t testing.TB, cfg Config) *Resolver {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
