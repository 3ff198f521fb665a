// Package console is what a command knows of the world around it: its streams,
// whether a person sits before them, its environment and its clock. Commands get
// one and use nothing else, so that a test can give them another.
package console

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/term"
	"k8s.io/utils/clock"
)

// Build says what this program was built from.
type Build struct {
	Version, BuildDate, GitCommit, GitTreeState, GitTag, GoVersion, Compiler, Platform, ExtraBuildInfo string
}

// Console is the world of a command.
type Console struct {
	In       io.Reader
	Out, Err io.Writer
	// InTerminal and its kind say that a person reads or writes there.
	InTerminal, OutTerminal, ErrTerminal bool
	// Size of the terminal in columns and rows; 80 and 24 when unknown.
	Size func() (columns, rows int)
	// Secret reads a line that is not shown.
	Secret func() (string, error)
	Getenv func(string) string
	Env    func() []string
	Home   func() (string, error)
	// LookPath finds a program; Dirs of PATH are where plugins are looked for.
	LookPath func(string) (string, error)
	Clock    clock.WithTickerAndDelayedExecution
	// Name is that of the program: sluice or argocd.
	Name  string
	Build Build

	lines *bufio.Reader
}

// System is the console of this process.
func System(name string, build Build) *Console {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	return &Console{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTerminal: term.IsTerminal(in), OutTerminal: term.IsTerminal(out), ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Size: func() (int, int) {
			columns, rows, err := term.GetSize(out)
			if err != nil || columns <= 0 || rows <= 0 {
				return 80, 24
			}
			return columns, rows
		},
		Secret: func() (string, error) {
			raw, err := term.ReadPassword(in)
			return string(raw), err
		},
		Getenv: os.Getenv, Env: os.Environ, Home: os.UserHomeDir, LookPath: exec.LookPath,
		Clock: clock.RealClock{}, Name: name, Build: build,
	}
}

// Printf writes to the output.
func (c *Console) Printf(format string, args ...any) { _, _ = fmt.Fprintf(c.Out, format, args...) }

// Warnf writes a line to the error stream.
func (c *Console) Warnf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Err, strings.TrimSuffix(format, "\n")+"\n", args...)
}

// Line reads a line of input; the end of input is an error.
func (c *Console) Line() (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(c.In)
	}
	line, err := c.lines.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", fmt.Errorf("no answer: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// Ask asks for a line.
func (c *Console) Ask(question string) (string, error) {
	c.Printf("%s", question)
	return c.Line()
}

// AskSecret asks for a line that is not shown; from a pipe it is read as it is.
func (c *Console) AskSecret(question string) (string, error) {
	c.Printf("%s", question)
	if !c.InTerminal {
		return c.Line()
	}
	text, err := c.Secret()
	c.Printf("\n")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return text, nil
}

// Confirm asks until the answer is y or n.
func (c *Console) Confirm(question string) (bool, error) {
	answer, err := c.Choose(question, "y", "n")
	return answer == "y", err
}

// Choose asks until the answer, in lower case, is one of those offered.
func (c *Console) Choose(question string, offered ...string) (string, error) {
	for {
		answer, err := c.Ask(question)
		if err != nil {
			return "", err
		}
		answer = strings.ToLower(strings.TrimSpace(answer))
		for _, o := range offered {
			if answer == o || answer == map[string]string{"y": "yes", "n": "no", "a": "all"}[o] {
				return o, nil
			}
		}
	}
}

// maxFile bounds what is read from a file or a pipe.
const maxFile = 64 << 20

// ReadFile reads a file, or the input for "-".
func (c *Console) ReadFile(name string) ([]byte, error) {
	var from io.Reader = c.In
	if name != "-" {
		f, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s has more than %d MiB", name, maxFile>>20)
	}
	return raw, nil
}
