package rbac

import (
	"encoding/csv"
	"fmt"
	"strings"
)

// Effects of a line.
const (
	allow = "allow"
	deny  = "deny"
)

// Line is one policy: what subjects may, or may not, do.
type Line struct {
	Subject, Resource, Action, Object, Effect string
	// Source names where it is written, for example policy.csv:12.
	Source string
}

// String is the line as it is written in a policy.
func (l Line) String() string {
	return fmt.Sprintf("p, %s, %s, %s, %s, %s", l.Subject, l.Resource, l.Action, l.Object, l.Effect)
}

// Grant makes a member inherit what a role may do.
type Grant struct {
	Member, Role string
	Source       string
}

// Text is a policy that was read.
type Text struct {
	Lines  []Line
	Grants []Grant
}

// Parse reads the text of a policy (spec/rbac.md §2); name is what errors and
// lines call it. The error names the first line that cannot be read.
func Parse(name, text string) (Text, error) {
	var out Text
	for i, raw := range strings.Split(text, "\n") {
		if err := out.add(fmt.Sprintf("%s:%d", name, i+1), raw); err != nil {
			return Text{}, err
		}
	}
	return out, nil
}

// add reads one line.
func (t *Text) add(source, raw string) error {
	raw = strings.TrimSpace(raw)
	if raw == "" || strings.HasPrefix(raw, "#") {
		return nil
	}
	r := csv.NewReader(strings.NewReader(raw))
	r.TrimLeadingSpace = true
	fields, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: %q is not a line of comma separated values: %w", source, shorten(raw), err)
	}
	switch {
	case fields[0] == "p" && len(fields) == 6:
		t.Lines = append(t.Lines, Line{Subject: fields[1], Resource: fields[2], Action: fields[3], Object: fields[4], Effect: fields[5], Source: source})
	case fields[0] == "g" && len(fields) == 3:
		t.Grants = append(t.Grants, Grant{Member: fields[1], Role: fields[2], Source: source})
	default:
		return fmt.Errorf("%s: %q is not a policy: write \"p, sub, res, act, obj, eft\" or \"g, member, role\"", source, shorten(raw))
	}
	return nil
}

// join appends another text.
func (t *Text) join(o Text) {
	t.Lines = append(t.Lines, o.Lines...)
	t.Grants = append(t.Grants, o.Grants...)
}

func shorten(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
