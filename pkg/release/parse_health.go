package release

import "time"

// The defaults of a health check are those of Docker.
const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 30 * time.Second
	defaultRetries  = 3
)

// healthcheck reads a container's health check. test: [NONE] means none.
func healthcheck(v value, c *Container) {
	h := &Healthcheck{Interval: defaultInterval, Timeout: defaultTimeout, Retries: defaultRetries}
	positive := duration(time.Millisecond, maxHealthTime)
	v.object(keys{
		"test":         func(v value) { healthTest(v, h) },
		"interval":     parsed(&h.Interval, positive),
		"timeout":      parsed(&h.Timeout, positive),
		"retries":      into(&h.Retries, between(1, maxRetries)),
		"start_period": parsed(&h.StartPeriod, duration(0, maxHealthTime)),
	})
	v.require("test")
	if len(h.Test) > 0 && h.Test[0] != "NONE" {
		c.Healthcheck = h
	}
}

// healthTest reads CMD with its words, CMD-SHELL with one line, or NONE.
func healthTest(v value, h *Healthcheck) {
	var words []string
	v.list(maxTest, func(e value) {
		if word, ok := e.text(); ok {
			words = append(words, word)
		}
	})
	if v.aliased() || !v.empty() && len(words) != len(v.node.Content) || len(v.node.Content) == 0 && !v.empty() && v.node.Value != "" {
		return // reported above
	}
	switch {
	case len(words) == 0:
		v.fail(`is empty: write a list such as ["CMD", "curl", "-sf", "http://localhost:8080/health"]`)
	case words[0] == "NONE" && len(words) == 1, words[0] == "CMD" && len(words) > 1,
		words[0] == "CMD-SHELL" && len(words) == 2:
		h.Test = words
	case words[0] == "CMD-SHELL":
		v.fail("CMD-SHELL takes one line, not %d words", len(words)-1)
	case words[0] == "CMD" || words[0] == "NONE":
		v.fail("%s with %d words after it has no meaning", words[0], len(words)-1)
	default:
		v.fail("must begin with CMD, CMD-SHELL or NONE, not %s", quote(words[0]))
	}
}
