// Package fail says how a command ends when it does not succeed: with which
// exit code, and what is written about it. On a terminal that is one line with
// the cause and one with the remedy, in a pipe a line of log (spec/cli.md,
// conventions).
package fail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/cli/client"
)

// Exit codes.
const (
	// Failure is a wrong call, a failed operation, or a difference.
	Failure = 1
	// Usage is what app diff gives for wrong arguments.
	Usage = 2
	// Generic is any error of API or validation.
	Generic = 20
)

// Error ends a command.
type Error struct {
	Code int
	// Err is what is written; nil writes nothing.
	Err error
	// Remedy is what to do, for people.
	Remedy string
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Silent ends a command with a code and no words.
func Silent(code int) error { return &Error{Code: code} }

// Fatal ends a command with exit code 1.
func Fatal(format string, args ...any) error {
	return &Error{Code: Failure, Err: fmt.Errorf(format, args...)}
}

// New is an error with exit code 20 and a remedy.
func New(remedy, format string, args ...any) error {
	return &Error{Code: Generic, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// Code is the exit code of an error.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return Generic
}

// Style is how errors are written.
type Style string

// The styles.
const (
	JSON  Style = "json"
	Text  Style = "text"
	Human Style = "human"
)

// Report writes an error; silent ones are not written.
func Report(w io.Writer, err error, style Style, program string, now time.Time) {
	var e *Error
	if errors.As(err, &e) && e.Err == nil {
		return
	}
	switch style {
	case Human:
		cause, remedy := Explain(err, program)
		_, _ = fmt.Fprintf(w, "Error: %s\n", cause)
		if remedy != "" {
			_, _ = fmt.Fprintf(w, "Try: %s\n", remedy)
		}
	case Text:
		Log(w, style, "fatal", err.Error(), now)
	default:
		Log(w, JSON, "fatal", err.Error(), now)
	}
}

// Log writes a line of log.
func Log(w io.Writer, style Style, level, message string, now time.Time) {
	stamp := now.Format(time.RFC3339)
	switch style {
	case Human:
		_, _ = fmt.Fprintln(w, message)
	case Text:
		_, _ = fmt.Fprintf(w, "time=%q level=%s msg=%q\n", stamp, level, message)
	default:
		raw, err := json.Marshal(struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Time  string `json:"time"`
		}{level, message, stamp})
		if err == nil {
			_, _ = fmt.Fprintf(w, "%s\n", raw)
		}
	}
}

// Explain gives cause and remedy in words for people.
func Explain(err error, program string) (cause, remedy string) {
	cause = strings.TrimSpace(err.Error())
	var api *client.Error
	if errors.As(err, &api) {
		cause, remedy = api.Message, remedyOf(api, program)
	}
	var connection *client.ConnectionError
	if errors.As(err, &connection) {
		remedy = connection.Remedy
	}
	var e *Error
	if errors.As(err, &e) && e.Remedy != "" {
		remedy = e.Remedy
	}
	return strings.ReplaceAll(cause, "\n", "; "), remedy
}

func remedyOf(e *client.Error, program string) string {
	switch e.Code {
	case client.Unauthenticated:
		if strings.Contains(e.Message, "username or password") {
			return "check the name and the password; after five failures wait five minutes"
		}
		return program + " login SERVER, or " + program + " relogin"
	case client.PermissionDenied:
		return "check the name, and your rights with: " + program + " account can-i ACTION RESOURCE OBJECT (what you may not see and what does not exist look the same)"
	case client.NotFound:
		return "check the name and, with -N, the namespace"
	case client.Unavailable, client.DeadlineExceeded:
		return "try again in a moment; when it stays so, look at the log of the server"
	case client.Aborted:
		return "somebody else changed the object at the same time: run the command again"
	case client.ResourceExhausted:
		return "too many requests: try again in a moment"
	case client.Unimplemented:
		return "the server does not know this: is it older than this program? See: " + program + " version"
	case client.FailedPrecondition:
		if strings.Contains(e.Message, "another operation") {
			return "wait for it with: " + program + " app wait NAME --operation, or end it with: " + program + " app terminate-op NAME"
		}
	case client.InvalidArgument:
		if strings.Contains(e.Message, "upsert") {
			return "look at the difference, and repeat the command with --upsert to replace what is there"
		}
	}
	return ""
}
