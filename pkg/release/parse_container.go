package release

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Defaults of a container, those of Docker where Docker has one.
const (
	defaultStopSignal  = "SIGTERM"
	defaultStopTimeout = 10 * time.Second
)

var (
	containerName = pattern(regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`),
		"up to 63 letters, digits, dots, underscores and hyphens, beginning with a letter or digit")
	userForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$`)
	allDigits = regexp.MustCompile(`^[0-9]+$`)
)

// containers reads the list of containers.
func (p *parser) containers(v value) {
	if !v.aliased() && len(v.node.Content) == 0 && (v.empty() || v.node.Value == "") {
		v.fail("is empty: at least one container is needed")
		return
	}
	v.list(MaxContainers, func(e value) {
		c := &Container{
			IPC: "private", PidsLimit: DefaultPidsLimit, ReadOnly: true,
			Restart: Restart{Policy: RestartNo}, StopSignal: defaultStopSignal, StopTimeout: defaultStopTimeout,
		}
		p.container(e, c)
		p.cfg.Containers = append(p.cfg.Containers, *c)
	})
}

// container reads one entry of containers.
func (p *parser) container(v value, c *Container) {
	known := keys{}
	for _, section := range []keys{
		identityKeys(c), environmentKeys(c), confinementKeys(c), storageKeys(c), lifeKeys(c), containerVintages(),
	} {
		maps.Copy(known, section)
	}
	v.object(known)
	v.require("name", "image")
	if v.has("gpus") && !v.has("runtime") {
		p.fail(p.at[v.path+".gpus"], v.path+".gpus", "needs runtime: nvidia")
	}
	if v.has("runtime") && !v.has("gpus") {
		p.fail(p.at[v.path+".runtime"], v.path+".runtime", "runtime: nvidia needs gpus, such as gpus: all")
	}
}

// identityKeys say what runs.
func identityKeys(c *Container) keys {
	return keys{
		"name": parsed(&c.Name, containerName),
		"image": func(v value) {
			if digest, ok := parseText(v, checkImage); ok {
				c.Image, c.ImageDigest = v.node.Value, digest
			}
		},
		"command":     texts(&c.Command),
		"entrypoint":  texts(&c.Entrypoint),
		"working_dir": parsed(&c.WorkingDir, parseAbsolute),
		"user":        parsed(&c.User, parseUser),
		"registry": func(v value) {
			r := &Registry{}
			v.object(keys{
				"username":        parsed(&r.Username, pattern(regexp.MustCompile(`^[^\s:]{1,255}$`), "an account name")),
				"password_secret": parsed(&r.PasswordSecret, envName),
				"password": refused("the file is public and measured; " +
					"name a secret with password_secret instead"),
			})
			v.require("username", "password_secret")
			c.Registry = r
		},
	}
}

// parseUser reads uid, uid:gid, name or name:group.
func parseUser(s string) (string, error) {
	if !userForm.MatchString(s) {
		return "", fmt.Errorf("must be uid, uid:gid, name or name:group, not %s", quote(s))
	}
	for part := range strings.SplitSeq(s, ":") {
		// The last id, 2^32-1, means "no id" to the kernel (chown(2)).
		if n, err := strconv.ParseUint(part, 10, 32); allDigits.MatchString(part) && (err != nil || n == 1<<32-1) {
			return "", fmt.Errorf("the id %s is larger than 4294967294", clip(part))
		}
	}
	return s, nil
}

// lifeKeys say how a container starts, stops and is found healthy.
func lifeKeys(c *Container) keys {
	return keys{
		"restart":     parsed(&c.Restart, parseRestart),
		"stop_signal": parsed(&c.StopSignal, parseSignal),
		"stop_timeout": func(v value) {
			if n, ok := v.integer(0, int(maxStopTime/time.Second)); ok {
				c.StopTimeout = time.Duration(n) * time.Second
			}
		},
		"healthcheck": func(v value) { healthcheck(v, c) },
	}
}

func parseRestart(s string) (Restart, error) {
	name, bound, bounded := strings.Cut(s, ":")
	policy, err := oneOf(RestartNo, RestartAlways, RestartOnFailure, RestartUnlessStopped)(name)
	if err != nil {
		return Restart{}, err
	}
	if !bounded {
		return Restart{Policy: policy}, nil
	}
	if policy != RestartOnFailure {
		return Restart{}, fmt.Errorf("only on-failure takes a number of retries, not %s", name)
	}
	n, err := strconv.Atoi(bound)
	if err != nil || n < 1 || n > maxRetries || !plainInteger.MatchString(bound) {
		return Restart{}, fmt.Errorf("must be on-failure:N with N between 1 and %d, not %s", maxRetries, quote(s))
	}
	return Restart{Policy: policy, MaxRetries: n}, nil
}

// signalNames are the signals that may stop a container, of signal(7).
var signalNames = []string{
	"HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "ALRM", "TERM", "CONT", "PWR", "WINCH", "RTMIN", "RTMAX",
}

var signalForm = regexp.MustCompile(`^(?:SIG)?([A-Z0-9]+?)([+-][0-9]{1,2})?$`)

// parseSignal reads a signal's name, with or without SIG, and gives it with.
func parseSignal(s string) (string, error) {
	if allDigits.MatchString(s) {
		return "", fmt.Errorf("write the name of the signal %s, such as SIGTERM", quote(s))
	}
	m := signalForm.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("must be a signal such as SIGTERM or SIGRTMIN+3, not %s", quote(s))
	}
	for _, name := range signalNames {
		if name != m[1] {
			continue
		}
		if m[2] != "" && !realTime(name, m[2]) {
			return "", errors.New("real-time signals go from SIGRTMIN to SIGRTMIN+30 and from SIGRTMAX-30 to SIGRTMAX")
		}
		return "SIG" + name + m[2], nil
	}
	return "", fmt.Errorf("%s can't stop a container; use a signal such as SIGTERM", quote(s))
}

func realTime(name, offset string) bool {
	n, err := strconv.Atoi(offset[1:])
	return err == nil && n >= 1 && n <= 30 &&
		(name == "RTMIN" && offset[0] == '+' || name == "RTMAX" && offset[0] == '-')
}
