package terminal

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns text from elsewhere as one line that is safe to show: escape
// sequences are dropped, control characters replaced by a space, and marks that
// reorder or hide text (bidirectional overrides, zero-width characters) dropped.
func Clean(text string) string {
	plain := true
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			plain = false
			break
		}
	}
	if plain {
		return text
	}
	var b strings.Builder
	f := Filter{out: &b}
	f.filter([]byte(text))
	f.flush()
	return strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(b.String()))
}

// Filter is a writer that passes on what is safe to show of a stream of hostile
// bytes: printable characters, line ends and tabs. A lone carriage return becomes
// a line end, so that nothing overwrites what stands there; bytes that are no
// UTF-8 become U+FFFD.
type Filter struct {
	out   io.Writer
	state state
	rest  []byte
	cr    bool
	buf   []byte
}

// NewFilter returns a filter that writes to out.
func NewFilter(out io.Writer) *Filter { return &Filter{out: out} }

// state is where in an escape sequence the stream is.
type state int

const (
	text      state = iota
	escape          // after ESC
	twoByte         // after ESC and an intermediate byte: one more ends it
	control         // CSI: ends with @ to ~
	command         // OSC, DCS, SOS, PM, APC: ends with BEL or ST
	commandST       // the same, after the ESC that may begin ST
)

// Write passes on what is safe of p. It always takes all of p, unless the writer
// beneath fails.
func (f *Filter) Write(p []byte) (int, error) {
	f.filter(p)
	defer func() { f.buf = f.buf[:0] }()
	if _, err := f.out.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// filter fills buf; it keeps an incomplete character for the next call.
func (f *Filter) filter(p []byte) {
	p = append(f.rest, p...)
	f.rest = nil
	for len(p) > 0 {
		if !utf8.FullRune(p) {
			f.rest = append([]byte(nil), p...)
			return
		}
		r, n := utf8.DecodeRune(p)
		p = p[n:]
		f.rune(r)
	}
}

// flush writes what filter kept and what is in buf to a writer that can't fail.
func (f *Filter) flush() {
	for range f.rest {
		f.rune(utf8.RuneError)
	}
	if f.cr {
		f.emit('\n')
	}
	_, _ = f.out.Write(f.buf)
}

func (f *Filter) emit(r rune) { f.buf = utf8.AppendRune(f.buf, r) }

func (f *Filter) rune(r rune) {
	if f.cr && r != '\r' {
		f.cr = false
		if r != '\n' {
			f.emit('\n')
		}
	}
	// A line end closes every sequence: one that is left open hides nothing of
	// the lines that follow.
	if r == '\n' || r == '\r' {
		f.state, f.cr = text, r == '\r'
		if r == '\n' {
			f.emit(r)
		}
		return
	}
	switch f.state {
	case escape:
		f.state = afterEscape(r)
	case twoByte:
		f.state = text
	case control:
		f.control(r)
	case command:
		f.state = inCommand(r)
	case commandST:
		if f.state = inCommand(r); r == '\\' {
			f.state = text
		}
	default:
		f.text(r)
	}
}

func afterEscape(r rune) state {
	switch {
	case r == '[':
		return control
	case strings.ContainsRune("]PX^_", r):
		return command
	case r >= ' ' && r <= '/':
		return twoByte
	case r == 0x1b:
		return escape
	}
	return text
}

func (f *Filter) control(r rune) {
	switch {
	case r == 0x1b:
		f.state = escape
	case r >= '@' && r <= '~':
		f.state = text
	case r > '~':
		f.state = text
		f.text(r)
	}
}

func inCommand(r rune) state {
	switch r {
	case 0x07, 0x9c:
		return text
	case 0x1b:
		return commandST
	}
	return command
}

// text takes a character outside of sequences. U+0080 to U+009F are the 8-bit
// forms of the sequences' beginnings (ECMA-48, 5.3).
func (f *Filter) text(r rune) {
	switch r {
	case 0x1b:
		f.state = escape
		return
	case 0x9b:
		f.state = control
		return
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		f.state = command
		return
	}
	switch {
	case r == '\t':
		f.emit(r)
	case unicode.IsControl(r), unicode.In(r, unicode.Cf), r == 0x2028, r == 0x2029:
	case unicode.IsPrint(r), unicode.IsSpace(r), r == utf8.RuneError:
		f.emit(r)
	}
}
