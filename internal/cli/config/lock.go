package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	// maxLock bounds the wait for another command.
	maxLock = 45 * time.Second
	// lockEvery is how often a lock that another command has is tried again.
	lockEvery = 25 * time.Millisecond
)

// LockError says that the file could not be kept from other commands, so that
// nothing was done.
type LockError struct{ err error }

func (e *LockError) Error() string { return e.err.Error() }

// Unwrap is the cause.
func (e *LockError) Unwrap() error { return e.err }

// lock keeps other commands from what they do under the same lock, which is
// beside the file and stays there, empty. It waits for the command that has it,
// for maxLock at most. The end of a process releases its lock.
func lock(ctx context.Context, path string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxLock)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &LockError{fmt.Errorf("local config: %w", err)}
	}
	l := flock.New(path+".lock", flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, lockEvery); err != nil {
		return nil, &LockError{fmt.Errorf("local config: lock %s: %w; is another command stuck, or the folder read-only?", l.Path(), err)}
	}
	return func() { _ = l.Close() }, nil // closing releases; there is nothing else to do about it
}
