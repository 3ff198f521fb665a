package gitrepo

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

var (
	// errMissing says that an object is not in the mirror.
	errMissing = errors.New("object missing")
	// errTooBig says that an object is larger than what is read.
	errTooBig = errors.New("too large")
)

// object is one answer of cat-file.
type object struct {
	kind, id string
	content  []byte
}

// objects reads from one mirror through a long-lived cat-file process, which
// is started when needed and again when it has died.
type objects struct {
	ctx   context.Context
	dir   string
	git   git
	limit int64 // bytes of one object
	clock clock.PassiveClock

	mu    sync.Mutex
	used  time.Time
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// read returns the object named by an id or an expression.
func (o *objects) read(name string) (object, error) {
	if name == "" || strings.ContainsAny(name, "\n\x00") {
		return object{}, fmt.Errorf("object name %q is not valid", name)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used = o.clock.Now()
	running := o.cmd != nil
	found, err := o.try(name)
	if running && err != nil && !settled(err) {
		found, err = o.try(name) // the process had died; a new one decides
	}
	return found, err
}

// settled says that cat-file is fine and this is its answer.
func settled(err error) bool { return errors.Is(err, errMissing) || errors.Is(err, errTooBig) }

func (o *objects) try(name string) (object, error) {
	if err := o.ensure(); err != nil {
		return object{}, err
	}
	found, err := o.ask(name)
	if err != nil && !errors.Is(err, errMissing) {
		o.stop()
	}
	return found, err
}

func (o *objects) ensure() error {
	if o.cmd != nil {
		return nil
	}
	if _, err := os.Stat(o.dir); err != nil {
		return errMissing
	}
	cmd := o.git.prepare(o.ctx, o.dir, "cat-file", "--batch")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("git cat-file: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("git cat-file: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("git cat-file: %w", err)
	}
	o.cmd, o.stdin, o.out = cmd, stdin, bufio.NewReaderSize(stdout, 64<<10)
	return nil
}

func (o *objects) ask(name string) (object, error) {
	if _, err := io.WriteString(o.stdin, name+"\n"); err != nil {
		return object{}, fmt.Errorf("git cat-file: %w", err)
	}
	header, err := o.out.ReadString('\n')
	if err != nil {
		return object{}, fmt.Errorf("git cat-file: %w", err)
	}
	fields := strings.Fields(header)
	if len(fields) != 3 {
		return object{}, fmt.Errorf("%s: %w", name, errMissing)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return object{}, fmt.Errorf("git cat-file: %w", err)
	}
	if size > o.limit {
		return object{}, fmt.Errorf("%w: %d bytes, at most %d are read", errTooBig, size, o.limit)
	}
	content := make([]byte, size+1)
	if _, err := io.ReadFull(o.out, content); err != nil {
		return object{}, fmt.Errorf("git cat-file: %w", err)
	}
	return object{kind: fields[1], id: fields[0], content: content[:size:size]}, nil
}

// stop ends the process; the next read starts a new one.
func (o *objects) stop() {
	if o.cmd == nil {
		return
	}
	_ = o.stdin.Close()
	_ = o.cmd.Process.Kill()
	_ = o.cmd.Wait()
	o.cmd = nil
}

// rest ends the process when it was not used since then.
func (o *objects) rest(since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.used.Before(since) {
		o.stop()
	}
}

func (o *objects) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stop()
}

// maxEntries bounds the names in one folder.
const maxEntries = 100_000

var errDamaged = errors.New("tree object is damaged")

// parseTree decodes a tree object; entries come in name order.
func parseTree(raw []byte, size int) ([]tree.Entry, error) {
	var out []tree.Entry
	for len(raw) > 0 {
		mode, rest, ok := bytes.Cut(raw, []byte{' '})
		if !ok || len(mode) > 6 {
			return nil, errDamaged
		}
		name, rest, ok := bytes.Cut(rest, []byte{0})
		if !ok || len(rest) < size {
			return nil, errDamaged
		}
		e := tree.Entry{Name: string(name), ID: hex.EncodeToString(rest[:size])}
		if e.Name == "" || e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") {
			return nil, fmt.Errorf("%w: it has an entry named %q", errDamaged, e.Name)
		}
		switch string(mode) {
		case "40000", "040000":
			e.Kind = tree.Dir
		case "120000":
			e.Kind = tree.Symlink
		case "160000":
			e.Kind = tree.Submodule
		}
		if out = append(out, e); len(out) > maxEntries {
			return nil, fmt.Errorf("folder has more than %d entries", maxEntries)
		}
		raw = rest[size:]
	}
	// Git sorts a folder as if its name ended in a slash.
	slices.SortFunc(out, func(a, b tree.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}
