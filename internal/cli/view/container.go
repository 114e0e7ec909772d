package view

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

// View shows things in one style, as of one moment.
type View struct {
	// Style colours, or doesn't.
	Style terminal.Style
	// Now is what ages are counted from.
	Now time.Time
}

// Status is a container's status with its marks.
func (v View) Status(c *cv1.Container) string {
	text := statusColour(v.Style, ContainerStatus(c.GetStatus())) + marks(v.Style, c.GetInsecure(), c.GetSpec().GetDebug())
	if len(c.GetStaleSecrets()) > 0 {
		text += " " + v.Style.Warn("[STALE SECRETS]")
	}
	if c.GetHostUnreachableSince() != nil {
		text += " " + v.Style.Warn("[HOST UNREACHABLE]")
	}
	return text
}

// Containers is the table of an org's containers.
func (v View) Containers(org string, list []*cv1.Container) string {
	if len(list) == 0 {
		return "no containers in org " + clean(org) + "\n"
	}
	t := table{header: []string{"NAME", "STATUS", "TAG", "REV", "GPUS", "HOST", "UPDATE", "AGE", "REASON"}}
	for _, c := range list {
		t.add(clean(c.GetName()), v.Status(c), clean(c.GetActiveTag()), number(c.GetActiveRevision()),
			strconv.Itoa(int(c.GetGpus())), clean(c.GetActiveHost()), clean(c.GetActiveUpdate()),
			age(c.GetCreateTime(), v.Now), clean(c.GetReason()))
	}
	return t.text(v.Style)
}

// Container is all there is to say of one container. m is the manifest of the release
// that serves; nil if there is none.
func (v View) Container(c *cv1.Container, m *cv1.Manifest) string {
	var f fields
	f.add("name", clean(c.GetName()))
	f.add("org", clean(c.GetOrg()))
	f.add("uid", clean(c.GetUid()))
	f.add("status", v.Status(c))
	f.add("why", why(c.GetReason(), c.GetText()))
	f.add("serves", tag(c.GetActiveTag(), c.GetActiveRevision()))
	f.add("commit", clean(c.GetActiveCommit()))
	f.add("signed", signedBy(m))
	f.add("enclave", clean(c.GetActiveEnclave()))
	f.add("platform", clean(c.GetActivePlatformDigest()))
	f.add("host", v.host(c))
	if c.GetActiveEnclave() != "" {
		f.add("size", room(&cv1.Room{Gpus: c.GetGpus(), Cpus: c.GetCpus(), MemoryMib: c.GetMemoryMib()}))
	}
	f.add("update", clean(c.GetActiveUpdate()))
	if c.GetActiveUpdate() == "" {
		f.add("last update", clean(c.GetLastUpdate()))
	}
	if len(c.GetStaleSecrets()) > 0 {
		f.add("stale secrets", v.Style.Warn(cleanAll(c.GetStaleSecrets()))+": redeploy to pick up the new values: casemate container relaunch "+clean(c.GetName()))
	}
	f.add("leftovers", leftovers(c.GetLeftoverEnclaves()))
	v.spec(&f, c.GetSpec())
	f.add("created", moment(c.GetCreateTime(), v.Now))
	f.add("changed", moment(c.GetUpdateTime(), v.Now))
	text := f.text(v.Style)
	if len(c.GetStages()) > 0 {
		text += "\n" + v.Style.Bold("boot stages") + "\n" + strings.Join(v.stages(c.GetStages(), "  "), "\n") + "\n"
	}
	return text
}

// host is the host of what serves, and since when it has not answered.
func (v View) host(c *cv1.Container) string {
	text := clean(c.GetActiveHost())
	if since := c.GetHostUnreachableSince(); since != nil {
		text += " " + v.Style.Warn("does not answer since "+moment(since, v.Now)) + ": what serves there may well go on; see casemate host get " + clean(c.GetActiveHost())
	}
	return text
}

func leftovers(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return cleanAll(ids) + ": stopped when their host is seen again"
}

// spec adds what was asked for last.
func (v View) spec(f *fields, s *cv1.ContainerSpec) {
	f.add("repository", clean(s.GetRepository()))
	f.add("tag asked for", clean(s.GetTag()))
	f.add("domain", clean(s.GetDomain()))
	f.add("only on host", clean(s.GetHost()))
	var vars []string
	for _, k := range slices.Sorted(maps.Keys(s.GetVariables())) {
		vars = append(vars, clean(k)+"="+clean(s.GetVariables()[k]))
	}
	f.add("variables", strings.Join(vars, "\n"))
	f.add("secrets", cleanAll(s.GetSecrets()))
	if s.GetDebug() {
		f.add("debug", v.Style.Warn("yes: a shell inside, other measurements, never production"))
	}
	var keys []string
	for _, k := range s.GetSshKeys() {
		keys = append(keys, sshKey(clean(k)))
	}
	f.add("ssh keys", strings.Join(keys, "\n"))
}

// sshKey shortens a public key to its kind, its end and its comment.
func sshKey(k string) string {
	parts := strings.SplitN(k, " ", 3)
	if len(parts) < 2 || len(parts[1]) < 12 {
		return k
	}
	parts[1] = "…" + parts[1][len(parts[1])-8:]
	return strings.Join(parts, " ")
}

// Revisions is the table of a container's revisions.
func (v View) Revisions(list []*cv1.Revision) string {
	if len(list) == 0 {
		return "no revisions\n"
	}
	t := table{header: []string{"REV", "TAG", "COMMIT", "GPUS", "VCPUS", "MEMORY", "SECRETS", "MARKS", "AGE"}}
	for _, r := range list {
		var secrets []string
		for _, k := range slices.Sorted(maps.Keys(r.GetSecretVersions())) {
			secrets = append(secrets, fmt.Sprintf("%s v%d", clean(k), r.GetSecretVersions()[k]))
		}
		t.add(strconv.FormatInt(r.GetNumber(), 10), clean(r.GetTag()), short(r.GetCommit()), strconv.Itoa(int(r.GetGpus())),
			strconv.Itoa(int(r.GetCpus())), memory(r.GetMemoryMib()), strings.Join(secrets, ", "),
			strings.TrimSpace(marks(v.Style, nil, r.GetDebug())), age(r.GetCreateTime(), v.Now))
	}
	return t.text(v.Style)
}

// Ask is one line for a question about a container.
func (v View) Ask(c *cv1.Container) string {
	text := clean(c.GetName()) + " is " + v.Status(c)
	if c.GetActiveTag() != "" {
		text += " and serves " + tag(c.GetActiveTag(), c.GetActiveRevision()) + " on host " + clean(c.GetActiveHost())
	}
	return text
}
