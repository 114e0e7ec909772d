package api

import (
	"testing"

	"github.com/casemate-dev/casemate/internal/coordinator/records"
)

// A resume token is a client's word: one that is taken is exactly one that was
// given out for this watch.
func FuzzResumeToken(f *testing.F) {
	s := &Server{cfg: Config{Records: &records.Records{ClusterID: "cl"}}}
	f.Add("routes/", s.token("routes/", 7))
	f.Add("routes/", s.token("containers/acme/", 1<<62))
	f.Add("events/a\x00b/", s.token("events/a\x00b/", 0))
	f.Add("", "!")
	f.Fuzz(func(t *testing.T, prefix, token string) {
		revision, err := s.parseToken(prefix, token)
		if err == nil && (revision < 0 || s.token(prefix, revision) != token) {
			t.Errorf("token %q of %q reads as revision %d, whose token is %q", token, prefix, revision, s.token(prefix, revision))
		}
	})
}
