package gitrepo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// errMissing says that an object is not in the mirror.
var errMissing = errors.New("object missing")

// maxObject bounds one object that is read into memory.
const maxObject = 64 << 20

// objects reads from one mirror through a long-lived cat-file process.
type objects struct {
	ctx context.Context
	dir string
	env environment

	mu    sync.Mutex
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

func newObjects(ctx context.Context, dir string, env environment) *objects {
	return &objects{ctx: ctx, dir: dir, env: env}
}

// read returns kind, id and content of an object named by id or expression.
func (o *objects) read(name string) (kind, id string, content []byte, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if strings.ContainsAny(name, "\n\x00") {
		return "", "", nil, fmt.Errorf("object name %q is not valid", name)
	}
	if err := o.ensure(); err != nil {
		return "", "", nil, err
	}
	kind, id, content, err = o.ask(name)
	if err != nil && !errors.Is(err, errMissing) {
		o.stop()
	}
	return kind, id, content, err
}

func (o *objects) ensure() error {
	if o.cmd != nil {
		return nil
	}
	cmd := exec.CommandContext(o.ctx, "git", "cat-file", "--batch")
	cmd.Dir, cmd.Env = o.dir, o.env.vars
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

func (o *objects) ask(name string) (kind, id string, content []byte, err error) {
	if _, err := io.WriteString(o.stdin, name+"\n"); err != nil {
		return "", "", nil, fmt.Errorf("git cat-file: %w", err)
	}
	header, err := o.out.ReadString('\n')
	if err != nil {
		return "", "", nil, fmt.Errorf("git cat-file: %w", err)
	}
	fields := strings.Fields(header)
	if len(fields) != 3 {
		return "", "", nil, fmt.Errorf("%s: %w", name, errMissing)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return "", "", nil, fmt.Errorf("git cat-file: %w", err)
	}
	if size > maxObject {
		return "", "", nil, fmt.Errorf("object %s has %d bytes: at most %d are read", fields[0], size, maxObject)
	}
	content = make([]byte, size+1)
	if _, err := io.ReadFull(o.out, content); err != nil {
		return "", "", nil, fmt.Errorf("git cat-file: %w", err)
	}
	return fields[1], fields[0], content[:size], nil
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

func (o *objects) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stop()
}

// parseTree decodes a tree object.
func parseTree(raw []byte) ([]tree.Entry, error) {
	var out []tree.Entry
	for len(raw) > 0 {
		space := strings.IndexByte(string(raw[:min(len(raw), 16)]), ' ')
		if space < 0 {
			return nil, errors.New("tree object is damaged")
		}
		mode := string(raw[:space])
		rest := raw[space+1:]
		zero := -1
		for i, b := range rest {
			if b == 0 {
				zero = i
				break
			}
		}
		if zero < 0 || len(rest) < zero+21 {
			return nil, errors.New("tree object is damaged")
		}
		e := tree.Entry{Name: string(rest[:zero]), ID: fmt.Sprintf("%x", rest[zero+1:zero+21])}
		switch mode {
		case "40000":
			e.Kind = tree.Dir
		case "120000":
			e.Kind = tree.Symlink
		case "160000":
			e.Kind = tree.Submodule
		}
		out = append(out, e)
		raw = rest[zero+21:]
	}
	return out, nil
}
