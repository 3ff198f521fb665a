package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/test/apiserver"
	"github.com/sluice-cd/sluice/test/terminal"
)

// guide is where people read what the sessions show.
const guide = "../../docs/guide"

// session plays what the comment of an archive says: prose is copied, a line
// "$ COMMAND" is run on a terminal and shown with what appears there, and
// "cast NAME: TITLE" before it has the command recorded as it is drawn. The
// other files of the archive lie in the folder; state.yaml is what the server
// knows.
type session struct {
	*testing.T
	self, dir, address string
	page               bytes.Buffer
	// cast is the recording that the next command makes.
	cast, title string
}

// TestSessions records the sessions of the guide; -update writes them anew.
func TestSessions(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/sessions/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d sessions, %v", len(files), err)
	}
	var page bytes.Buffer
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if page.Len() > 0 {
			page.WriteString("\n")
		}
		page.Write(bytes.Trim(record(t, archive), "\n"))
		page.WriteString("\n")
	}
	golden(t, "sessions.md", page.Bytes())
}

// golden compares a file of the guide, or writes it anew.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join(guide, name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the program does now; look at it with: go test ./internal/cli -run TestSessions -update; git diff docs/guide\n%s", name, got)
	}
}

func record(t *testing.T, archive *txtar.Archive) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{T: t, self: self, dir: t.TempDir()}
	for _, f := range archive.Files {
		if err := os.WriteFile(filepath.Join(s.dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if f.Name != "state.yaml" {
			continue
		}
		api, err := apiserver.Load(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(api)
		t.Cleanup(server.Close)
		s.address = strings.TrimPrefix(server.URL, "http://")
	}
	open := false
	for line := range strings.Lines(string(archive.Comment)) {
		command, isCommand := strings.CutPrefix(strings.TrimRight(line, "\n"), "$ ")
		cast, isCast := strings.CutPrefix(strings.TrimRight(line, "\n"), "cast ")
		switch {
		case isCast:
			s.cast, s.title, _ = strings.Cut(cast, ": ")
		case isCommand && !open:
			s.page.WriteString("```\n")
			open = true
			s.run(command)
		case isCommand:
			s.page.WriteString("\n")
			s.run(command)
		default:
			if open {
				s.page.WriteString("```\n")
			}
			open = false
			s.page.WriteString(line)
		}
	}
	if open {
		s.page.WriteString("```\n")
	}
	return s.page.Bytes()
}

// run runs a command and shows it.
func (s *session) run(text string) {
	s.Helper()
	words, err := console.Words(text)
	if err != nil || len(words) == 0 {
		s.Fatalf("%q: %v", text, err)
	}
	cmd := &exec.Cmd{Path: s.self, Args: words, Dir: s.dir, Env: []string{
		"HOME=" + s.dir, "TZ=UTC", "TERM=xterm", "PATH=" + os.Getenv("PATH"), "ARGOCD_SERVER=" + s.address, "ARGOCD_OPTS=--plaintext", "KUBECONFIG=" + filepath.Join(s.dir, "kubeconfig"),
	}}
	raw, code, err := terminal.Run(cmd, "")
	if err != nil {
		s.Fatalf("%s: %v", text, err)
	}
	shown, err := terminal.Screen(raw)
	if err != nil {
		s.Fatalf("%s: %v", text, err)
	}
	fmt.Fprintf(&s.page, "$ %s\n%s", text, strings.TrimPrefix(shown, "\n"))
	if code != 0 {
		fmt.Fprintf(&s.page, "[exit code %d]\n", code)
	}
	if s.cast != "" {
		golden(s.T, "sessions/"+s.cast+".cast", asciicast(s.title, text, raw))
		s.cast = ""
	}
	if address := regexp.MustCompile(regexp.QuoteMeta(s.address) + "|" + regexp.QuoteMeta(s.dir)); address.MatchString(raw) {
		s.Errorf("%s shows where the test runs: %s", text, address.FindString(raw))
	}
}

// asciicast is a recording in version 2 of the format of asciinema. Pictures
// follow each other at a steady pace, so that it is the same each time.
func asciicast(title, command, raw string) []byte {
	var out bytes.Buffer
	line := func(v any) {
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			panic(err) // texts and numbers
		}
	}
	const pace = 1.5
	line(map[string]any{"version": 2, "width": terminal.Columns, "height": terminal.Rows, "title": title, "env": map[string]string{"TERM": "xterm"}})
	at := 0.5
	line([]any{at, "o", "$ "})
	for _, r := range command {
		at += 0.05
		line([]any{float64(int(at*100+0.5)) / 100, "o", string(r)})
	}
	line([]any{float64(int(at*100+0.5)) / 100, "o", "\r\n"})
	for _, frame := range terminal.Frames(raw) {
		line([]any{float64(int(at*100+0.5)) / 100, "o", frame})
		at += pace
	}
	line([]any{float64(int(at*100+0.5)) / 100, "o", "$ "})
	return out.Bytes()
}
