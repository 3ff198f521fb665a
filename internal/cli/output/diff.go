package output

import (
	"fmt"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
)

// lines splits a text, every line with its end.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	out := strings.SplitAfter(text, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	} else {
		out[len(out)-1] += "\n"
	}
	return out
}

// Normal is the difference in the form of diff without options: what scripts
// have always read. It is empty when the texts are equal.
func Normal(before, after string) string {
	a, b := lines(before), lines(after)
	var out strings.Builder
	for _, op := range difflib.NewMatcherWithJunk(a, b, false, nil).GetOpCodes() {
		if op.Tag == 'e' {
			continue
		}
		switch op.Tag {
		case 'd':
			fmt.Fprintf(&out, "%sd%d\n", span(op.I1, op.I2), op.J1)
		case 'i':
			fmt.Fprintf(&out, "%da%s\n", op.I1, span(op.J1, op.J2))
		default:
			fmt.Fprintf(&out, "%sc%s\n", span(op.I1, op.I2), span(op.J1, op.J2))
		}
		for _, l := range a[op.I1:op.I2] {
			out.WriteString("< " + l)
		}
		if op.Tag == 'r' {
			out.WriteString("---\n")
		}
		for _, l := range b[op.J1:op.J2] {
			out.WriteString("> " + l)
		}
	}
	return out.String()
}

func span(from, to int) string {
	if to-from == 1 {
		return fmt.Sprint(to)
	}
	return fmt.Sprintf("%d,%d", from+1, to)
}

// Unified is the difference with three lines of context; paint colours a line
// by its first character and may be nil.
func Unified(before, after string, paint func(mark byte, line string) string) string {
	if paint == nil {
		paint = func(_ byte, line string) string { return line }
	}
	a, b := lines(before), lines(after)
	var out strings.Builder
	write := func(mark byte, all []string) {
		for _, l := range all {
			out.WriteString(paint(mark, string(mark)+strings.TrimSuffix(l, "\n")) + "\n")
		}
	}
	for _, group := range difflib.NewMatcherWithJunk(a, b, false, nil).GetGroupedOpCodes(3) {
		first, last := group[0], group[len(group)-1]
		head := fmt.Sprintf("@@ -%s +%s @@", unifiedSpan(first.I1, last.I2), unifiedSpan(first.J1, last.J2))
		out.WriteString(paint('@', head) + "\n")
		for _, op := range group {
			if op.Tag == 'e' {
				write(' ', a[op.I1:op.I2])
				continue
			}
			write('-', a[op.I1:op.I2])
			write('+', b[op.J1:op.J2])
		}
	}
	return out.String()
}

func unifiedSpan(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}
