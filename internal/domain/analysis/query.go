package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// maxQuery bounds a query before and after filling, in bytes.
const maxQuery = 16 << 10

// Query is a query with places for arguments, {{args.NAME}}. A place knows
// what surrounds it, so that no argument can leave the string it stands in.
type Query struct {
	literals []string // one more than places
	places   []place
}

type place struct {
	argument string
	// quote is the quote of the string around the place; 0 outside of strings.
	quote byte
	// pattern says that the string is a regular expression.
	pattern bool
}

// stepArguments are known for a step, applicationArguments only for one
// Application; labels.KEY are the labels of the Application.
var (
	stepArguments        = []string{"applicationset", "namespace", "rollout-id", "step", "step-name"}
	applicationArguments = []string{"application", "cluster", "destination-namespace"}
)

const labelArgument = "labels."

var placeholder = regexp.MustCompile(`^\{\{\s*args\.([A-Za-z0-9._/-]+)\s*\}\}`)

// parseQuery splits a query at its places. Without a scope in the settings,
// a query that asks for something of an Application is measured for each.
func parseQuery(text string, scope Scope) (Query, Scope, error) {
	var q Query
	switch {
	case strings.TrimSpace(text) == "":
		return q, scope, errors.New("is empty")
	case len(text) > maxQuery:
		return q, scope, fmt.Errorf("has %d bytes, at most %d are allowed", len(text), maxQuery)
	case !utf8.ValidString(text):
		return q, scope, errors.New("is not UTF-8")
	}
	s := scanner{}
	literal := strings.Builder{}
	for i := 0; i < len(text); {
		m := placeholder.FindStringSubmatch(text[i:])
		if m == nil {
			if strings.HasPrefix(text[i:], "{{") {
				return q, scope, fmt.Errorf("%q is not an argument such as {{args.step}}", clip(text[i:], 40))
			}
			s.step(text[i])
			literal.WriteByte(text[i])
			i++
			continue
		}
		narrow, err := argumentScope(m[1])
		if err != nil {
			return q, scope, err
		}
		if narrow && scope == Step {
			return q, scope, fmt.Errorf("{{args.%s}} is known only with scope: Application", m[1])
		}
		if narrow {
			scope = Application
		}
		q.literals, q.places = append(q.literals, literal.String()), append(q.places, place{argument: m[1], quote: s.quote, pattern: s.pattern})
		literal.Reset()
		i += len(m[0])
	}
	q.literals = append(q.literals, literal.String())
	if scope == "" {
		scope = Step
	}
	return q, scope, nil
}

// ScopeOf is what a metric is measured for: its scope, or without one, what
// its query asks for. A query that cannot be read has the scope of its step.
func ScopeOf(m v1alpha1.AnalysisMetric) Scope {
	if m.Scope != "" || m.Provider.Prometheus == nil {
		return cmp.Or(Scope(m.Scope), Step)
	}
	_, scope, err := parseQuery(m.Provider.Prometheus.Query, "")
	if err != nil {
		return Step
	}
	return scope
}

func argumentScope(name string) (application bool, err error) {
	switch {
	case slices.Contains(stepArguments, name):
		return false, nil
	case slices.Contains(applicationArguments, name), strings.HasPrefix(name, labelArgument) && len(name) > len(labelArgument):
		return true, nil
	}
	return false, fmt.Errorf("{{args.%s}} is not known: the arguments are %s and labels.KEY", name, strings.Join(slices.Concat(stepArguments, applicationArguments), ", "))
}

// scanner follows the strings and comments of a query.
type scanner struct {
	quote   byte
	escaped bool
	comment bool
	pattern bool
	before  string // the last two bytes that are not space
}

func (s *scanner) step(c byte) {
	switch {
	case s.comment:
		s.comment = c != '\n'
	case s.quote != 0:
		switch {
		case s.escaped:
			s.escaped = false
		case c == '\\' && s.quote != '`':
			s.escaped = true
		case c == s.quote:
			s.quote, s.pattern, s.before = 0, false, ""
		}
	case c == '#':
		s.comment = true
	case c == '"' || c == '\'' || c == '`':
		s.quote, s.pattern = c, s.before == "=~" || s.before == "!~"
	case !unicode.IsSpace(rune(c)):
		s.before += string(rune(c))
		s.before = s.before[max(0, len(s.before)-2):]
	}
}

// bare is what may stand outside of a string: a name or a number.
var bare = regexp.MustCompile(`^[A-Za-z0-9_:]+$`)

// Fill puts the arguments in. A value stays inside the string it stands in;
// in a regular expression it matches itself only; outside of strings it must
// be a plain name or number. The error names the argument, never its value.
func (q Query) Fill(arguments map[string]string) (string, error) {
	var b strings.Builder
	for i, p := range q.places {
		b.WriteString(q.literals[i])
		value, ok := arguments[p.argument]
		if !ok {
			if strings.HasPrefix(p.argument, labelArgument) {
				return "", fmt.Errorf("argument %s: the Application has no such label", p.argument)
			}
			return "", fmt.Errorf("argument %s has no value", p.argument)
		}
		safe, err := p.safe(value)
		if err != nil {
			return "", fmt.Errorf("argument %s: %w", p.argument, err)
		}
		b.WriteString(safe)
	}
	b.WriteString(q.literals[len(q.literals)-1])
	if b.Len() > maxQuery {
		return "", fmt.Errorf("the query with its arguments has %d bytes, at most %d are allowed", b.Len(), maxQuery)
	}
	return b.String(), nil
}

func (p place) safe(value string) (string, error) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return "", errors.New("its value holds control characters")
	}
	if p.quote == 0 {
		if !bare.MatchString(value) {
			return "", errors.New("its value is not a plain name or number: put quotes around the argument")
		}
		return value, nil
	}
	if p.pattern {
		value = regexp.QuoteMeta(value)
	}
	if p.quote == '`' {
		if strings.Contains(value, "`") {
			return "", errors.New("its value holds a backquote: use double quotes around the argument")
		}
		return value, nil
	}
	quote := string(p.quote)
	return strings.NewReplacer(`\`, `\\`, quote, `\`+quote).Replace(value), nil
}

// Subject is what a measurement is about.
type Subject struct {
	ApplicationSet, Namespace string
	RolloutID                 int64
	Step                      int
	StepName                  string
	// The rest is empty in scope Step.
	Application, Cluster, DestinationNamespace string
	Labels                                     map[string]string
}

// Arguments are the values for the places of a query.
func (s Subject) Arguments() map[string]string {
	out := map[string]string{
		"applicationset": s.ApplicationSet, "namespace": s.Namespace, "rollout-id": strconv.FormatInt(s.RolloutID, 10),
		"step": strconv.Itoa(s.Step), "step-name": s.StepName,
	}
	if s.StepName == "" {
		out["step-name"] = out["step"]
	}
	if s.Application == "" {
		return out
	}
	out["application"], out["cluster"], out["destination-namespace"] = s.Application, s.Cluster, s.DestinationNamespace
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		out[labelArgument+k] = s.Labels[k]
	}
	return out
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
