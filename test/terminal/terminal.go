// Package terminal runs programs on a pseudo-terminal and says what a person
// sees there: the raw output, the screen in the end, and the screen as it is
// drawn again and again.
package terminal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Size of the terminal.
const Columns, Rows = 120, 30

// Run runs a program with a terminal as its input, output and error, types an
// input into it, and gives all that appears; an exit code is no error.
func Run(cmd *exec.Cmd, input string) (raw string, code int, err error) {
	outer, inner, err := open()
	if err != nil {
		return "", 0, fmt.Errorf("pseudo-terminal: %w", err)
	}
	defer func() { _ = outer.Close() }()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := errors.Join(cmd.Start(), inner.Close()); err != nil {
		return "", 0, err
	}
	if _, err := outer.WriteString(input); err != nil {
		return "", 0, err
	}
	var seen strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := outer.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil { // the last program with the terminal has ended
			break
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return "", 0, err
	}
	return seen.String(), cmd.ProcessState.ExitCode(), nil
}

func open() (outer, inner *os.File, err error) {
	outer, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(outer.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: Columns, Row: Rows}); err != nil {
		return nil, nil, err
	}
	inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return outer, inner, err
}

// control matches what steers a terminal: of it our programs use colours, the
// cursor up some lines, and the rest of the screen cleared.
var control = regexp.MustCompile(`\x1b\[([0-9;]*)([A-Za-z])`)

// Screen is what stands on the terminal in the end, without colours. Text that
// has scrolled away is part of it.
func Screen(raw string) (string, error) {
	s := &screen{lines: [][]rune{nil}}
	for raw != "" {
		at := control.FindStringSubmatchIndex(raw)
		plain := raw
		if at != nil {
			plain = raw[:at[0]]
		}
		s.write(plain)
		if at == nil {
			break
		}
		if err := s.steer(raw[at[2]:at[3]], raw[at[4]:at[5]]); err != nil {
			return "", err
		}
		raw = raw[at[1]:]
	}
	var out []string
	for _, l := range s.lines {
		out = append(out, strings.TrimRight(string(l), " "))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n") + "\n", nil
}

type screen struct {
	lines       [][]rune
	row, column int
}

func (s *screen) write(text string) {
	for _, r := range text {
		switch r {
		case '\r':
			s.column = 0
		case '\n':
			if s.row++; s.row == len(s.lines) {
				s.lines = append(s.lines, nil)
			}
		default:
			line := s.lines[s.row]
			for len(line) <= s.column {
				line = append(line, ' ')
			}
			line[s.column] = r
			s.column++
			s.lines[s.row] = line
		}
	}
}

func (s *screen) steer(number, what string) error {
	switch what {
	case "m": // a colour
	case "A":
		n, err := strconv.Atoi(number)
		if err != nil || n > s.row {
			return fmt.Errorf("the cursor goes up %q lines from line %d", number, s.row)
		}
		s.row -= n
	case "J":
		s.lines = s.lines[:s.row+1]
		s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
	default:
		return fmt.Errorf("control %s%s is not known here", number, what)
	}
	return nil
}

// redrawn is how a picture that is drawn in place begins.
var redrawn = regexp.MustCompile(`(\x1b\[\d+A)?\r\x1b\[J`)

// Frames cuts output at each point where a picture is drawn anew; together they
// are the output.
func Frames(raw string) []string {
	var out []string
	from := 0
	for _, at := range redrawn.FindAllStringIndex(raw, -1) {
		if at[0] > from {
			out = append(out, raw[from:at[0]])
		}
		from = at[0]
	}
	return append(out, raw[from:])
}
