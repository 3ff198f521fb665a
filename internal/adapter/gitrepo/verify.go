package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// Trust is what a project demands of signatures, and the keys that are known.
type Trust struct {
	Policy signature.Policy
	Known  []signature.Key
}

// maxHistory bounds the commits that Strict looks at.
const maxHistory = 100_000

// Verify says whether the commit that a target led to is signed as the policy
// demands. Where the target is an annotated tag, Head looks at the signature of
// the tag. An error that is no UnsignedError means that nothing could be
// decided.
func (m *Mirrors) Verify(ctx context.Context, r repo.Repository, t Target, id string, trust Trust) (signature.Verdict, error) {
	a, err := m.open(r)
	if err != nil {
		return signature.Verdict{}, err
	}
	if _, err := a.tree(ctx, id); err != nil {
		return signature.Verdict{}, err
	}
	c := check{a: a, trust: trust, now: m.options.Clock.Now()}
	what, v, err := c.head(ctx, t, id)
	if err != nil || trust.Policy.Mode == signature.None {
		return v, err
	}
	if v.Result != signature.Good {
		return v, &UnsignedError{What: what, Verdict: v}
	}
	if trust.Policy.Mode == signature.Strict {
		return v, c.history(ctx, id)
	}
	return v, nil
}

// UnsignedError says that a commit or tag is not signed as its project demands.
type UnsignedError struct {
	What    string // "commit 1234567" or "tag v1"
	Verdict signature.Verdict
}

func (e *UnsignedError) Error() string {
	return fmt.Sprintf("%s %s: sign it with a key that the project lists", e.What, e.Verdict)
}

// check is one verification.
type check struct {
	a     *access
	trust Trust
	now   time.Time
}

func (c check) verdict(s signature.Signed) signature.Verdict {
	return signature.Check(s, c.trust.Known, c.trust.Policy.Keys, c.now)
}

// head judges the tag, if the target is an annotated one, or the commit.
func (c check) head(ctx context.Context, t Target, id string) (string, signature.Verdict, error) {
	if name, object, ok := c.a.tagOf(t); ok {
		raw, err := c.a.mirror.tagObject(ctx, c.a, object)
		if err != nil {
			return "", signature.Verdict{}, fmt.Errorf("repository %s: tag %s: %w", c.a.name, name, err)
		}
		if signature.TagTarget(raw) == id { // else it has moved since it was resolved
			return "tag " + name, c.verdict(signature.Tag(raw)), nil
		}
	}
	raw, err := c.commit(id)
	if err != nil {
		return "", signature.Verdict{}, err
	}
	return "commit " + id[:7], c.verdict(signature.Commit(raw)), nil
}

func (c check) commit(id string) ([]byte, error) {
	o, err := commitStore{c.a.mirror, c.a, id}.object(id)
	if err == nil && o.kind != "commit" {
		err = fmt.Errorf("is a %s, not a commit", o.kind)
	}
	if err != nil {
		return nil, fmt.Errorf("repository %s: commit %s: %w", c.a.name, id, err)
	}
	return o.content, nil
}

// history judges a commit and all before it, each branch back to a signed
// commit that seals what came before. What has passed once is not looked at
// again with the same keys.
func (c check) history(ctx context.Context, id string) error {
	known := c.a.mirror.vouched(c.trust)
	queue, seen := []string{id}, map[string]bool{id: true}
	for len(queue) > 0 {
		next := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("repository %s: history of %s: %w", c.a.name, id[:7], err)
		}
		if known[next] {
			continue
		}
		if len(seen) > maxHistory {
			return fmt.Errorf("repository %s: more than %d commits before %s and none seals the history: make a signed commit with the trailer Argocd-gpg-seal", c.a.name, maxHistory, id[:7])
		}
		raw, err := c.commit(next)
		if err != nil {
			return err
		}
		if v := c.verdict(signature.Commit(raw)); v.Result != signature.Good {
			return &UnsignedError{What: "commit " + next[:7] + " in the history of " + id[:7], Verdict: v}
		}
		if signature.Seals(raw) {
			continue
		}
		for _, parent := range signature.Parents(raw) {
			if !seen[parent] && fullID.MatchString(parent) {
				seen[parent] = true
				queue = append(queue, parent)
			}
		}
	}
	c.a.mirror.vouch(c.trust, id)
	return nil
}

// fingerprint of the keys and rules that a history has passed.
func (t Trust) fingerprint() string {
	parts := append([]string{string(t.Policy.Mode)}, t.Policy.Keys...)
	for _, k := range t.Known {
		parts = append(parts, k.Digest())
	}
	return digest(parts...)
}

// maxVouched bounds the heads remembered for one set of keys.
const maxVouched = 1000

// vouched are the commits whose whole history has passed with these keys.
func (m *mirror) vouched(t Trust) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trust != t.fingerprint() {
		return nil
	}
	known := make(map[string]bool, len(m.passed))
	for id := range m.passed {
		known[id] = true
	}
	return known
}

func (m *mirror) vouch(t Trust, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := t.fingerprint(); m.trust != f || len(m.passed) >= maxVouched {
		m.trust, m.passed = f, map[string]bool{}
	}
	m.passed[id] = true
}

// tagOf is the annotated tag that a target means, with the id of the tag object.
func (a *access) tagOf(t Target) (name, object string, ok bool) {
	a.mu.Lock()
	refs := a.last
	a.mu.Unlock()
	if refs == nil || fullID.MatchString(t.Revision) {
		return "", "", false
	}
	name = refs.tagNamed(t)
	o, ok := refs.tags[tagPath+name]
	return name, o.String(), ok
}

// tagObject reads a tag object, fetching tags when the mirror lacks it.
func (m *mirror) tagObject(ctx context.Context, by *access, id string) ([]byte, error) {
	o, err := m.objects.read(id)
	if errors.Is(err, errMissing) {
		m.writing.Lock()
		err = m.update(ctx, by)
		m.writing.Unlock()
		if err == nil {
			o, err = m.objects.read(id)
		}
	}
	if err == nil && o.kind != "tag" {
		err = fmt.Errorf("is a %s", o.kind)
	}
	return o.content, err
}

// Commit describes a commit for people, with the tags that lead to it and, when
// keys are known, what its signature is worth.
func (m *Mirrors) Commit(ctx context.Context, r repo.Repository, id string, known []signature.Key) (repo.Commit, signature.Verdict, error) {
	if !fullID.MatchString(id) {
		return repo.Commit{}, signature.Verdict{}, fmt.Errorf("commit %q: want a complete commit id", id)
	}
	a, err := m.open(r)
	if err != nil {
		return repo.Commit{}, signature.Verdict{}, err
	}
	if _, err := a.tree(ctx, id); err != nil {
		return repo.Commit{}, signature.Verdict{}, err
	}
	c := check{a: a, trust: Trust{Known: known}, now: m.options.Clock.Now()}
	raw, err := c.commit(id)
	if err != nil {
		return repo.Commit{}, signature.Verdict{}, err
	}
	out, err := repo.ParseCommit(id, raw)
	if err != nil {
		return repo.Commit{}, signature.Verdict{}, fmt.Errorf("repository %s: commit %s: %w", a.name, id, errors.Join(errDamaged, err))
	}
	a.mu.Lock()
	out.Tags = a.last.tagsAt(id)
	a.mu.Unlock()
	return out, c.verdict(signature.Commit(raw)), nil
}

// Changed lists the files that differ between two commits, in order; renames
// are a removal and an addition.
func (m *Mirrors) Changed(ctx context.Context, r repo.Repository, from, to string) ([]string, error) {
	if !fullID.MatchString(from) || !fullID.MatchString(to) {
		return nil, fmt.Errorf("commits %q and %q: want complete commit ids", from, to)
	}
	a, err := m.open(r)
	if err != nil {
		return nil, err
	}
	for _, id := range []string{from, to} {
		if _, err := a.tree(ctx, id); err != nil {
			return nil, err
		}
	}
	out, err := a.mirror.objects.git.run(ctx, command{
		args: []string{"diff-tree", "-r", "-z", "--no-renames", "--name-only", from, to, "--"}, dir: a.mirror.dir, limit: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", a.name, err)
	}
	var files []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" {
			files = append(files, name)
		}
	}
	return files, nil
}
