package repo

import (
	"fmt"
	"log/slog"
)

// Secret is a credential. Whatever prints it prints masked; only Reveal gives
// the text, at the place where it goes out.
type Secret string

const mask = "***"

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

// Format masks every verb, %#v and %q too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.masked())) }

// MarshalText masks encoders (JSON, YAML, gob).
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.masked()), nil }

// LogValue masks structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.masked()) }

func (s Secret) masked() string {
	if s == "" {
		return ""
	}
	return mask
}
