// Package output prints what commands answer: tables, JSON, YAML, names and
// trees, byte by byte as scripts expect them (spec/cli.md, conventions).
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// Unknown is the error for a format that a command does not have.
func Unknown(format string) error { return fmt.Errorf("unknown output format: %s", format) }

// Table prints rows below a header, elastic columns two blanks apart.
func Table(w io.Writer, rows [][]string) error { return TablePadded(w, 2, rows) }

// TablePadded prints rows below a header, elastic columns some blanks apart.
func TablePadded(w io.Writer, padding int, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, padding, ' ', 0)
	for _, row := range rows {
		if err := line(t, row); err != nil {
			return err
		}
	}
	return t.Flush()
}

func line(w io.Writer, cells []string) error {
	clean := make([]string, len(cells))
	for i, c := range cells {
		clean[i] = Clean(c)
	}
	_, err := fmt.Fprintln(w, strings.Join(clean, "\t"))
	return err
}

// Clean keeps control characters of other people's text away from a terminal:
// a message of a cluster must not move the cursor. Line ends become blanks.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.TrimRight(text, "\r\n"))
}

// Object prints a value as json or yaml.
func Object(w io.Writer, format string, v any) error {
	var raw []byte
	var err error
	switch format {
	case "json":
		raw, err = json.MarshalIndent(v, "", "  ")
		raw = append(raw, '\n')
	case "yaml":
		raw, err = yaml.Marshal(v)
	default:
		return Unknown(format)
	}
	if err != nil {
		return fmt.Errorf("print as %s: %w", format, err)
	}
	_, err = w.Write(raw)
	return err
}

// List prints values as a bare array; none is [].
func List[T any](w io.Writer, format string, all []T) error {
	if all == nil {
		all = []T{}
	}
	return Object(w, format, all)
}

// Listed prints values as a table, which table makes, or as json or yaml.
func Listed[T any](w io.Writer, format string, all []T, table func() [][]string) error {
	if format == "wide" || format == "" {
		return Table(w, table())
	}
	return List(w, format, all)
}

// Row prints a label, padded to 20 columns, and a value.
func Row(w io.Writer, label, value string) error { return RowTo(w, 20, label, value) }

// RowTo prints a label, padded to width, and a value.
func RowTo(w io.Writer, width int, label, value string) error {
	_, err := fmt.Fprintf(w, "%-*s%s\n", width, label, Clean(value))
	return err
}

// Age is how long ago a time was: 5m, 3d2h.
func Age(now, t time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}

// Ago is how long ago a time was, in words: 3 hours ago.
func Ago(now, t time.Time) string {
	d := now.Sub(t)
	suffix := "ago"
	if d < 0 {
		d, suffix = -d, "from now"
	}
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"year", 365 * 24 * time.Hour}, {"month", 30 * 24 * time.Hour}, {"week", 7 * 24 * time.Hour}, {"day", 24 * time.Hour},
		{"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		n := int64(d / u.d)
		switch {
		case n == 1:
			return "1 " + u.name + " " + suffix
		case n > 1:
			return fmt.Sprintf("%d %ss %s", n, u.name, suffix)
		}
	}
	return "now"
}
