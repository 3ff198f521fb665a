package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/glob"
)

// maxOutput bounds what a command prints.
const maxOutput = maxMessage

// grace is how long a group of processes has after TERM.
const grace = 5 * time.Second

// exec runs a command of the plugin in the folder of the Application. It ends
// with ctx, with every process that it has started.
func (s *Server) exec(ctx context.Context, c call, command Command) ([]byte, error) {
	argv := command.argv()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // what the owner of the sidecar configured
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	out, errs := &bounded{limit: maxOutput}, &bounded{limit: 64 << 10, cut: true}
	cmd.Stdout, cmd.Stderr = out, errs
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	}
	words := strings.TrimSpace(errs.String())
	if words != "" {
		s.Log.Info("the plugin wrote to stderr", "command", argv[0], "stderr", words)
	}
	if out.full {
		return nil, fmt.Errorf("`%s` printed more than %d bytes", strings.Join(argv, " "), maxOutput)
	}
	if err != nil {
		reason := err.Error()
		if ctx.Err() != nil {
			reason = "signal: killed: " + ctx.Err().Error()
		}
		if words != "" {
			reason += ": " + words
		}
		return nil, fmt.Errorf("`%s` failed %s", strings.Join(argv, " "), reason)
	}
	return out.Bytes(), nil
}

// bounded keeps what is written up to a limit.
type bounded struct {
	bytes.Buffer
	limit     int
	cut, full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) <= b.limit {
		return b.Buffer.Write(p)
	}
	if b.cut {
		return len(p), nil
	}
	b.full = true
	return 0, errors.New("too much output")
}

// unpack writes an archive below root and nowhere else.
func unpack(r io.Reader, dir string, keepModes bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackOne(root, t, h, keepModes); err != nil {
			return fmt.Errorf("illegal filepath in archive: %s: %w", h.Name, err)
		}
	}
}

func unpackOne(root *os.Root, t io.Reader, h *tar.Header, keepModes bool) error {
	name := path.Clean(h.Name)
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(name) {
		return errors.New("leaves the folder")
	}
	dirMode, fileMode := fs.FileMode(0o755), fs.FileMode(0o644)
	if keepModes {
		dirMode, fileMode = h.FileInfo().Mode().Perm()|0o700, h.FileInfo().Mode().Perm()
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, dirMode)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(name), h.Linkname)) {
			return errors.New("illegal filepath in symlink")
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, t)
		return errors.Join(err, file.Close())
	}
	return nil // other types are dropped
}

// escape takes the meaning from the signs of a pattern in a path.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// globBelow looks for a pattern in which ** is any number of folders.
func globBelow(dir, pattern string) (bool, error) {
	g, err := glob.Compile(pattern, '/')
	if err != nil {
		return false, fmt.Errorf("spec.discover.find.glob: %w", err)
	}
	alternative, err := glob.Compile(strings.ReplaceAll(pattern, "**/", ""), '/')
	if err != nil {
		return false, fmt.Errorf("spec.discover.find.glob: %w", err)
	}
	found := false
	err = filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		if rel = filepath.ToSlash(rel); g.Match(rel) || alternative.Match(rel) {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}
