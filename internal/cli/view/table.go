package view

import (
	"strings"

	"github.com/casemate-dev/casemate/internal/cli/terminal"
)

// gap stands between columns.
const gap = "   "

// table is rows of cells under a header. A cell is clean text, perhaps coloured.
type table struct {
	header []string
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// text aligns the columns. Columns that are empty in every row are left out.
func (t *table) text(s terminal.Style) string {
	widths := make([]int, len(t.header))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], terminal.Width(cell))
		}
	}
	var kept []int
	for i, w := range widths {
		if w > 0 {
			kept = append(kept, i)
			widths[i] = max(w, terminal.Width(t.header[i]))
		}
	}
	var b strings.Builder
	line(&b, t.header, kept, widths, s.Bold)
	for _, row := range t.rows {
		line(&b, row, kept, widths, func(cell string) string { return cell })
	}
	return b.String()
}

func line(b *strings.Builder, cells []string, kept, widths []int, style func(string) string) {
	var l strings.Builder
	for n, i := range kept {
		if n > 0 {
			l.WriteString(gap)
		}
		l.WriteString(style(cells[i]))
		l.WriteString(strings.Repeat(" ", widths[i]-terminal.Width(cells[i])))
	}
	b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
}

// fields is a list of names with values, one a line. Empty values are left out.
type fields struct{ names, values []string }

func (f *fields) add(name, value string) {
	if value != "" {
		f.names, f.values = append(f.names, name), append(f.values, value)
	}
}

func (f *fields) text(s terminal.Style) string {
	width := 0
	for _, n := range f.names {
		width = max(width, terminal.Width(n))
	}
	var b strings.Builder
	for i, n := range f.names {
		pad := strings.Repeat(" ", width-terminal.Width(n)+2)
		lines := strings.Split(f.values[i], "\n")
		b.WriteString(s.Dim(n) + pad + lines[0] + "\n")
		for _, more := range lines[1:] {
			b.WriteString(strings.Repeat(" ", width+2) + more + "\n")
		}
	}
	return b.String()
}
