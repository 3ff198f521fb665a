// Package live draws a few lines of a terminal again and again, in place: how
// things are now, not what has happened. In a pipe nothing of it is used.
package live

import (
	"fmt"
	"io"
	"strings"
)

// Painter draws lines; it is for one goroutine.
type Painter struct {
	w io.Writer
	// size of the terminal now, in columns and rows.
	size  func() (columns, rows int)
	drawn int
	last  string
}

// New makes a painter.
func New(w io.Writer, size func() (columns, rows int)) *Painter { return &Painter{w: w, size: size} }

const (
	up    = "\x1b[%dA"
	clear = "\x1b[J"
)

// Draw replaces what was drawn before. Lines that do not fit are cut; when
// there are more lines than rows, the last ones are counted instead.
func (p *Painter) Draw(lines []string) {
	columns, rows := p.size()
	lines = fit(lines, columns, rows)
	text := strings.Join(lines, "\n") + "\n"
	if text == p.last {
		return
	}
	var out strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&out, up, p.drawn)
	}
	out.WriteString("\r" + clear + text)
	p.last, p.drawn = text, len(lines)
	_, _ = io.WriteString(p.w, out.String())
}

// Clear takes away what was drawn.
func (p *Painter) Clear() {
	if p.drawn > 0 {
		_, _ = fmt.Fprintf(p.w, up+"\r"+clear, p.drawn)
	}
	p.drawn, p.last = 0, ""
}

func fit(lines []string, columns, rows int) []string {
	out := lines
	if room := max(rows-1, 2); len(lines) > room {
		out = append(append([]string{}, lines[:room-1]...), fmt.Sprintf("... and %d more", len(lines)-room+1))
	}
	cut := make([]string, len(out))
	for i, l := range out {
		cut[i] = Cut(l, columns-1)
	}
	return cut
}

// Cut bounds a line to a width in columns; colours take none.
func Cut(line string, width int) string {
	var out strings.Builder
	n, inside := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			inside = true
		case inside:
			inside = r != 'm'
		default:
			if n++; n > width {
				continue
			}
		}
		out.WriteRune(r)
	}
	return out.String()
}

// Colours.
const (
	Red    = "\x1b[31m"
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	Blue   = "\x1b[34m"
	Bold   = "\x1b[1m"
	Dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

// Paint colours a text.
func Paint(colour, text string) string {
	if text == "" || colour == "" {
		return text
	}
	return colour + text + reset
}

// Columns pads cells so that columns stand below each other, two blanks apart;
// colours take no room.
func Columns(rows [][]string) []string {
	var width []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], visible(c))
		}
	}
	out := make([]string, len(rows))
	for r, row := range rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(c)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-visible(c)+2))
			}
		}
		out[r] = strings.TrimRight(line.String(), " ")
	}
	return out
}

func visible(text string) int {
	n, inside := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			inside = true
		case inside:
			inside = r != 'm'
		default:
			n++
		}
	}
	return n
}
