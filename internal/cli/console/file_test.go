package console_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluice-cd/sluice/internal/cli/console"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// TestReplace says that a file is replaced whole, or not at all.
func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, link := filepath.Join(dir, "backup"), filepath.Join(dir, "link")
	holds := func(want string) {
		t.Helper()
		if raw, err := os.ReadFile(name); err != nil || string(raw) != want {
			t.Errorf("the file holds %q (%v), want %q", raw, err, want)
		}
	}
	if err := os.WriteFile(name, []byte("of yesterday"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("cut short")
	err := console.Replace(name, 0o600, func(w io.Writer) error { return errors.Join(text("half")(w), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("a write that fails: %v", err)
	}
	holds("of yesterday")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if err := console.Replace(link, 0o600, text("of today")); err != nil {
		t.Fatal(err)
	}
	holds("of today")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("a link was replaced")
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode().Perm(), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if err := console.Replace(filepath.Join(dir, "no", "such"), 0o600, text("")); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}

// TestReplacePipe says that what is no file is written to.
func TestReplacePipe(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		raw, err := os.ReadFile(name)
		if err != nil {
			raw = []byte(err.Error())
		}
		read <- string(raw)
	}()
	if err := console.Replace(name, 0o600, text("secret")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "secret" {
		t.Errorf("the pipe got %q", got)
	}
}
