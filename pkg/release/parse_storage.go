package release

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// storageKeys say what is mounted into a container.
func storageKeys(c *Container) keys {
	return keys{
		"models":  distinct(&c.Models, modelName),
		"volumes": each(&c.Volumes, parseMount),
		"tmpfs":   func(v value) { tmpfs(v, c) },
	}
}

// parseMount reads VOLUME:/path or VOLUME:/path:ro.
func parseMount(s string) (Mount, error) {
	source, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Mount{}, fmt.Errorf("must be VOLUME:/path, not %s", quote(s))
	}
	if strings.ContainsAny(source, "/.~") {
		return Mount{}, fmt.Errorf("%s is a path of the enclave; only volumes declared in volumes can be mounted "+
			"(for scratch space write tmpfs)", quote(source))
	}
	target, mode, moded := strings.Cut(rest, ":")
	if moded && mode != "ro" && mode != "rw" {
		return Mount{}, fmt.Errorf("the mount option must be ro or rw, not %s", quote(mode))
	}
	if _, err := parseTarget(target); err != nil {
		return Mount{}, err
	}
	return Mount{Volume: source, Target: target, ReadOnly: mode == "ro"}, nil
}

// tmpfs reads a mapping of mount paths to options.
func tmpfs(v value, c *Container) {
	if v.node.Kind == yaml.SequenceNode {
		v.fail("must be a mapping of paths to options, such as /tmp: size=64m")
		return
	}
	if len(v.node.Content)/2 > maxTmpfs {
		v.fail("has %d entries; at most %d are allowed", len(v.node.Content)/2, maxTmpfs)
		return
	}
	v.pairs(func(key *yaml.Node, val value) {
		target, err := parseTarget(key.Value)
		if err != nil {
			v.p.fail(key, val.path, "%v", err)
			return
		}
		options := ""
		if !val.empty() {
			text, ok := val.text()
			if !ok {
				return
			}
			options = text
		}
		t, err := parseTmpfs(options)
		if err != nil {
			val.fail("%v", err)
			return
		}
		t.Target = target
		c.Tmpfs = append(c.Tmpfs, t)
	})
}

// parseTmpfs reads options such as size=128m,mode=0700,uid=1000,exec.
func parseTmpfs(options string) (Tmpfs, error) {
	var t Tmpfs
	if options == "" {
		return t, nil
	}
	seen := map[string]bool{}
	for option := range strings.SplitSeq(options, ",") {
		key, val, _ := strings.Cut(option, "=")
		if err := t.set(key, val, option); err != nil {
			return Tmpfs{}, err
		}
		group := tmpfsGroups[key]
		if group == "" {
			group = key
		}
		if seen[group] {
			return Tmpfs{}, fmt.Errorf("the option %s is given twice or against another", quote(option))
		}
		seen[group] = true
	}
	return t, nil
}

// tmpfsGroups joins options that exclude each other.
var tmpfsGroups = map[string]string{"ro": "access", "rw": "access", "exec": "execution", "noexec": "execution"}

func (t *Tmpfs) set(key, val, option string) (err error) {
	switch {
	case option == "nosuid" || option == "nodev" || option == "rw" || option == "noexec":
	case option == "exec":
		t.Exec = true
	case option == "ro":
		t.ReadOnly = true
	case option == "suid" || option == "dev":
		return fmt.Errorf("the option %s is not allowed: nosuid and nodev always hold", option)
	case key == "size" && strings.HasSuffix(val, "%"):
		return errors.New("write the size in bytes, such as size=128m: a share of the memory is not fixed")
	case key == "size":
		t.SizeBytes, err = parseSize(val)
	case key == "mode":
		t.Mode, err = parseMode(val)
	case key == "uid":
		t.UID, err = parseOwner(val)
	case key == "gid":
		t.GID, err = parseOwner(val)
	default:
		return fmt.Errorf("unknown option %s; known are size=, mode=, uid=, gid=, exec, noexec, ro, rw, nosuid, nodev", quote(option))
	}
	if err != nil {
		return fmt.Errorf("the option %s: %w", key, err)
	}
	return nil
}

var modeForm = regexp.MustCompile(`^[0-7]{3,5}$`)

// parseMode reads octal permission bits. Set-id bits mean nothing on a mount
// that is nosuid, and are refused; the sticky bit is allowed.
func parseMode(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || !modeForm.MatchString(s) || n > 0o1777 || n == 0 {
		return 0, fmt.Errorf("must be octal permission bits such as 0700 or 1777, not %s", quote(s))
	}
	return uint32(n), nil
}

func parseOwner(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxOwner || !plainInteger.MatchString(s) {
		return 0, fmt.Errorf("must be an id between 0 and %d, not %s", maxOwner, quote(s))
	}
	return n, nil
}
