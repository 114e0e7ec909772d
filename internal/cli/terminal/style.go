package terminal

import (
	"strings"
	"unicode/utf8"
)

// Style colours text, or leaves it as it is when its zero value is used.
type Style struct {
	// Color says that the terminal takes SGR sequences (ECMA-48, 8.3.117).
	Color bool
}

// Good marks what went well.
func (s Style) Good(t string) string { return s.sgr("32", t) }

// Bad marks what failed.
func (s Style) Bad(t string) string { return s.sgr("31", t) }

// Warn marks what to look at.
func (s Style) Warn(t string) string { return s.sgr("33", t) }

// Bold marks what matters most.
func (s Style) Bold(t string) string { return s.sgr("1", t) }

// Dim marks what matters least.
func (s Style) Dim(t string) string { return s.sgr("2", t) }

func (s Style) sgr(code, t string) string {
	if !s.Color || t == "" {
		return t
	}
	return "\x1b[" + code + "m" + t + "\x1b[0m"
}

// Width counts the characters of a line that Style may have coloured.
func Width(line string) int {
	n := 0
	for line != "" {
		if rest, ok := cutSGR(line); ok {
			line = rest
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
		n++
	}
	return n
}

// Cut shortens a line that Style may have coloured to width characters.
func Cut(line string, width int) string {
	if width <= 0 || Width(line) <= width {
		return line
	}
	var b strings.Builder
	for n := 0; line != ""; {
		if rest, ok := cutSGR(line); ok {
			b.WriteString(line[:len(line)-len(rest)])
			line = rest
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		switch {
		case n < width-1:
			b.WriteString(line[:size])
		case n == width-1:
			b.WriteString("…")
		}
		line = line[size:]
		n++
	}
	return b.String()
}

func cutSGR(line string) (string, bool) {
	rest, ok := strings.CutPrefix(line, "\x1b[")
	if !ok {
		return line, false
	}
	_, rest, ok = strings.Cut(rest, "m")
	return rest, ok
}
