package terminal

import (
	"fmt"
	"io"
	"strings"
)

// Screen redraws a block of lines in place.
type Screen struct {
	out   io.Writer
	size  func() (width, height int)
	drawn int
}

// NewScreen returns a screen that draws on out. size returns the terminal's size
// in characters; 0 means unknown.
func NewScreen(out io.Writer, size func() (width, height int)) *Screen {
	return &Screen{out: out, size: size}
}

// Draw replaces what was drawn before. Lines wider than the terminal are cut, and
// of a block that is higher the first lines are left out: a line that wraps or
// scrolls away can't be drawn over.
func (s *Screen) Draw(lines []string) error {
	width, height := s.size()
	if height > 2 && len(lines) > height-1 {
		left := len(lines) - (height - 2)
		lines = append([]string{fmt.Sprintf("… %d lines more", left)}, lines[left:]...)
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r\x1b[K" + Cut(line, width) + "\n")
	}
	if s.drawn > len(lines) {
		b.WriteString("\x1b[J")
	}
	s.drawn = len(lines)
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}

// Leave ends the block: what is drawn stays and the next block begins below.
func (s *Screen) Leave() { s.drawn = 0 }
