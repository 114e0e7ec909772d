package sim

import (
	"context"
	"fmt"
	"strings"

	"github.com/casemate-dev/casemate/pkg/release/git"
)

// tags are repositories named after the GPUs that their containers need;
// "secret" needs one and a secret. A tag that is such a name itself needs that
// many.
type tags struct{}

// repository is the address of one.
func repository(size string) string { return "https://git.example/" + size }

// Resolve answers for every tag.
func (tags) Resolve(_ context.Context, req git.Request) (*git.Found, error) {
	content := configs[req.Tag]
	if content == nil {
		content = configs[strings.TrimPrefix(req.Repository, repository(""))]
	}
	return &git.Found{
		Repository: req.Repository, Tag: req.Tag, Commit: strings.Repeat("a", 39) + fmt.Sprintf("%x", hash(req.Tag)%16),
		ConfigName: "casemate.yml", Content: content,
	}, nil
}

var configs = map[string][]byte{}

func init() {
	for size, gpus := range map[string]int{"zero": 0, "one": 1, "two": 2, "eight": 8, "secret": 1} {
		secrets := ""
		if size == "secret" {
			secrets = "    secrets: [API_KEY]\n"
		}
		configs[size] = fmt.Appendf(nil, `cvm-version: 0.14.12@sha256:%s
cpus: %d
memory: 16384
gpus: %d
containers:
  - name: app
    image: ghcr.io/acme/app:v1@sha256:%s
%sshim:
  upstream-port: 8000
`, strings.Repeat("1", 64), 4+gpus*4, gpus, strings.Repeat("3", 64), secrets)
	}
}
