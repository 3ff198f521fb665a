package console

import (
	"errors"
	"strings"
)

// Words splits text as a shell does, without running anything: blanks separate,
// single and double quotes and backslashes keep together.
func Words(text string) ([]string, error) {
	var out []string
	var word strings.Builder
	inside, begun, escaped := rune(0), false, false
	for _, r := range text {
		switch {
		case escaped:
			if inside == '"' && r != '"' && r != '\\' && r != '$' && r != '`' {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && inside != '\'':
			escaped, begun = true, true
		case inside != 0:
			if r == inside {
				inside = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			inside, begun = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if begun {
				out = append(out, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if inside != 0 || escaped {
		return nil, errors.New("a quote or backslash is not closed")
	}
	if begun {
		out = append(out, word.String())
	}
	return out, nil
}
