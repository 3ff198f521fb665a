package terminal_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/test/terminal"
)

func TestScreen(t *testing.T) {
	t.Parallel()
	raw := "before\r\n\r\x1b[Jone\r\n\x1b[31mtwo\x1b[0m\r\n\x1b[2A\r\x1b[J1\r\n\x1b[1A\r\x1b[Jafter  \r\nlast"
	got, err := terminal.Screen(raw)
	if err != nil || got != "before\nafter\nlast\n" {
		t.Errorf("%q, %v", got, err)
	}
	frames := terminal.Frames(raw)
	if want := []string{"before\r\n", "\r\x1b[Jone\r\n\x1b[31mtwo\x1b[0m\r\n", "\x1b[2A\r\x1b[J1\r\n", "\x1b[1A\r\x1b[Jafter  \r\nlast"}; !slices.Equal(frames, want) {
		t.Errorf("%q", frames)
	}
	for _, bad := range []string{"\x1b[3A", "\x1b[5H"} {
		if _, err := terminal.Screen("x" + bad); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	raw, code, err := terminal.Run(exec.Command("sh", "-c", "read word; test -t 0 && stty size; echo got $word; exit 3"), "hello\n")
	if err != nil || code != 3 || !strings.Contains(raw, "30 120") || !strings.Contains(raw, "got hello") {
		t.Errorf("%q, %d, %v", raw, code, err)
	}
}
