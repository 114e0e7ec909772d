package terminal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCleanTextIsOneSafeLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":                     "plain text",
		"v1.2.3 → v1.2.4, größer":        "v1.2.3 → v1.2.4, größer",
		"\x1b[31mred\x1b[0m":             "red",
		"\x1b]0;title\x07after":          "after",
		"\x1b]8;;http://x\x1b\\link":     "link",
		"\x1bP q payload \x1b\\x":        "x",
		"\x1b(Bcharset":                  "charset",
		"\x1bcreset":                     "reset",
		"\x1b\x1b[2Jtwice":               "twice",
		"\u009b2Jeight bits":             "eight bits",
		"\u009d0;title\u009cafter":       "after",
		"an\x1b[31\x1b[0mother":          "another",
		"csi\x1b[1é":                     "csié",
		"two\nlines\tand a tab":          "two lines and a tab",
		"over\rwritten":                  "over written",
		"dos\r\nline":                    "dos line",
		"bell\x07 back\x08 del\x7f":      "bell back del",
		"\u202egnp.exe\u2066 \u200bzero": "gnp.exe zero",
		"left open \x1b]0;secret\nnext":  "left open  next",
		"not utf-8 \xff\xfe":             "not utf-8 \ufffd\ufffd",
		"cut short \xe2\x82":             "cut short \ufffd\ufffd",
		"line\u2028separator":            "lineseparator",
		"ends with a return\r":           "ends with a return",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAFilterTakesAllOrSaysWhy(t *testing.T) {
	if n, err := NewFilter(&bytes.Buffer{}).Write([]byte("a\x1b[1mb")); n != 6 || err != nil {
		t.Errorf("Write = %d, %v, want 6, nil", n, err)
	}
	if _, err := NewFilter(broken{}).Write([]byte("a")); err == nil {
		t.Error("a writer that fails went unnoticed")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"plain\n", "\x1b[31mred", "\x1b]0;t\x07x", "\r\r\n", "\u009b\u202e", "\xe2\x82", "\x1b\x1b\\"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		var whole, parts bytes.Buffer
		if _, err := NewFilter(&whole).Write(in); err != nil {
			t.Fatal(err)
		}
		at = min(max(at, 0), len(in))
		two := NewFilter(&parts)
		for _, p := range [][]byte{in[:at], in[at:]} {
			if _, err := two.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if whole.String() != parts.String() {
			t.Errorf("cut at %d of %q: %q, whole: %q", at, in, &parts, &whole)
		}
		for _, r := range whole.String() {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.In(r, unicode.Cf) {
				t.Errorf("%q lets %q through", in, r)
			}
		}
		if !utf8.Valid(whole.Bytes()) {
			t.Errorf("%q gives no UTF-8: %q", in, &whole)
		}
		if line := Clean(string(in)); strings.ContainsAny(line, "\n\t\x1b") {
			t.Errorf("Clean(%q) = %q", in, line)
		}
	})
}
