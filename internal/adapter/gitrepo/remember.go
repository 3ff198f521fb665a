package gitrepo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// What a remote has answered to somebody's credentials is remembered beside the
// mirror, so that a process that starts while the remote is away goes on where
// the one before it was. It counts as the answer of a remote that has just
// stopped answering: for the grace, and for reading commits by their id.
const (
	// keyFile names and seals the answers: without it nobody can tell whose an
	// answer is, or make one up.
	keyFile = "_answers.key"
	// rememberedFor is how long an answer is worth anything.
	rememberedFor = 7 * 24 * time.Hour
	// rememberPause is how often an answer that stays the same is written again.
	rememberPause = time.Hour
)

// answersKey reads the key of a folder of mirrors, or makes it.
func answersKey(dir string, random io.Reader) ([]byte, error) {
	file := filepath.Join(dir, keyFile)
	key, err := os.ReadFile(file)
	if err == nil && len(key) == sha256.Size {
		return key, nil
	}
	key = make([]byte, sha256.Size)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("key of remembered answers: %w", err)
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return nil, fmt.Errorf("key of remembered answers: %w", err)
	}
	return key, nil
}

// sealOf is a checksum that only the owner of the key can make.
func (m *Mirrors) sealOf(parts ...[]byte) []byte {
	sum := hmac.New(sha256.New, m.key)
	for _, p := range parts {
		_, _ = fmt.Fprintf(sum, "%d:", len(p))
		sum.Write(p)
	}
	return sum.Sum(nil)
}

// answerFile is where the answer to a is kept. Its name tells nothing about
// the credentials.
func (a *access) answerFile() string {
	return filepath.Join(a.mirror.home, "answer-"+hex.EncodeToString(a.all.sealOf([]byte("name"), []byte(a.id)))[:32])
}

// remember keeps an answer for the next process.
func (a *access) remember(raw []byte, refs *Refs) {
	now := a.all.options.Clock.Now()
	a.mu.Lock()
	same := a.last != nil && a.last.digest == refs.digest && now.Sub(a.kept) < rememberPause
	if !same {
		a.kept = now
	}
	a.mu.Unlock()
	if same {
		return
	}
	file := a.answerFile()
	err := os.WriteFile(file+".new", append(a.all.sealOf([]byte(a.id), raw), raw...), 0o600)
	err = errors.Join(err, os.Chtimes(file+".new", now, now))
	if err = errors.Join(err, os.Rename(file+".new", file)); err != nil {
		a.all.options.Log.Warn("answer of a repository not kept for a restart", "repository", a.name, "error", err.Error())
	}
}

// recall takes over what the remote answered to the process before.
func (a *access) recall() {
	file := a.answerFile()
	info, err := os.Stat(file)
	if err != nil || a.all.options.Clock.Since(info.ModTime()) > rememberedFor {
		return
	}
	raw, err := os.ReadFile(file)
	if err != nil || len(raw) < sha256.Size {
		return
	}
	if seal, answer := raw[:sha256.Size], raw[sha256.Size:]; bytes.Equal(seal, a.all.sealOf([]byte(a.id), answer)) {
		a.last = parseRefs(answer)
	}
}

// secondLook is the pause before a remote is asked again whose branch went
// back.
const secondLook = time.Second

// consistent gives an answer that is believed. A replica that lags behind shows
// a branch as it was before; an answer in which a branch that is followed went
// back to an earlier commit counts when the remote gives it twice.
func (a *access) consistent(ctx context.Context, refs *Refs) *Refs {
	branch := a.wentBack(ctx, refs)
	if branch == "" {
		return refs
	}
	rest(ctx, a.all.options.Clock, secondLook)
	again, err := a.lsRemote(ctx)
	switch {
	case err != nil:
		return refs
	case again.digest == refs.digest:
		a.all.options.Log.Warn("branch went back to an earlier commit", "reason", "RefWentBack", "repository", a.name, "branch", branch)
	default:
		a.all.options.Log.Warn("the server showed an old state of a branch, and then another: one of its replicas lags behind", "repository", a.name, "branch", branch)
	}
	return again
}

// wentBack names a target that is followed and now leads to an ancestor of the
// commit that it led to.
func (a *access) wentBack(ctx context.Context, refs *Refs) string {
	a.mu.Lock()
	last := a.last
	targets := map[Target]bool{}
	for s := range a.subs {
		targets[s.target] = true
	}
	a.mu.Unlock()
	if last == nil || last.digest == refs.digest {
		return ""
	}
	for t := range targets {
		before, errBefore := last.Resolve(t)
		now, errNow := refs.Resolve(t)
		if errBefore != nil || errNow != nil || before == now {
			continue
		}
		if _, err := a.mirror.objects.read(now + "^{commit}"); err != nil {
			continue // what is not known yet is no earlier commit
		}
		if _, err := a.mirror.objects.git.run(ctx, command{
			args: []string{"merge-base", "--is-ancestor", now, before}, dir: a.mirror.dir, limit: time.Minute,
		}); err == nil {
			return t.Revision
		}
	}
	return ""
}
