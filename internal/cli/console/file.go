package console

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Replace writes a file as a whole, or leaves it as it was: what is cut short must
// not take the place of what was good. What exists and is no plain file, such as a
// pipe, is written to as it is.
func Replace(name string, mode os.FileMode, write func(io.Writer) error) error {
	name = filepath.Clean(name)
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return finish(f, write)
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real // a link stays one
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // nobody else may read it
	if err != nil {
		return err
	}
	err = f.Chmod(mode)
	if err = errors.Join(err, finish(f, write)); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func finish(f *os.File, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(write(w), w.Flush(), f.Close())
}
