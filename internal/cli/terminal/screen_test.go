package terminal

import (
	"strings"
	"testing"
)

func size(w, h int) func() (int, int) { return func() (int, int) { return w, h } }

func TestABlockIsDrawnOverTheOneBefore(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, size(80, 24))
	for _, lines := range [][]string{{"one", "two"}, {"three"}} {
		if err := s.Draw(lines); err != nil {
			t.Fatal(err)
		}
	}
	s.Leave()
	if err := s.Draw([]string{"below"}); err != nil {
		t.Fatal(err)
	}
	want := "\r\x1b[Kone\n\r\x1b[Ktwo\n" + "\x1b[2A\r\x1b[Kthree\n\x1b[J" + "\r\x1b[Kbelow\n"
	if out.String() != want {
		t.Errorf("sent %q, want %q", out.String(), want)
	}
}

func TestNothingIsDrawnThatWouldWrapOrScroll(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, size(5, 4))
	if err := s.Draw([]string{"1", "2", "3", "4", "a long line"}); err != nil {
		t.Fatal(err)
	}
	if want := "\r\x1b[K… 3 …\n\r\x1b[K4\n\r\x1b[Ka lo…\n"; out.String() != want {
		t.Errorf("sent %q, want %q", out.String(), want)
	}
}

func TestAWriterThatFailsIsTold(t *testing.T) {
	if err := NewScreen(broken{}, size(0, 0)).Draw([]string{"x"}); err == nil {
		t.Error("no error")
	}
}

func TestColoursHaveNoWidth(t *testing.T) {
	s := Style{Color: true}
	line := s.Good("ok") + " " + s.Bad("no") + s.Warn("w") + s.Bold("b") + s.Dim("d") + s.Dim("")
	if n := Width(line); n != 8 {
		t.Errorf("width %d, want 8", n)
	}
	if got, want := Cut(s.Good("green"), 3), "\x1b[32mgr…\x1b[0m"; got != want {
		t.Errorf("cut %q, want %q", got, want)
	}
	if got := Cut("short", 0); got != "short" {
		t.Errorf("a terminal of unknown width cuts to %q", got)
	}
	if (Style{}).Bad("no") != "no" {
		t.Error("the zero Style colours")
	}
}
