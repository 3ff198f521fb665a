package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// A partial mirror has all commits and folders but files only when they have
// been read. Git would fetch a missing file by itself, one request each; so it
// is read through an empty repository that only borrows the objects and says
// "missing", and what is missing below a folder is then fetched in one request.

// batchLimit bounds the objects of one such request.
const batchLimit = 20_000

// preparePartial makes the empty repository, and finds out whether the server
// left the files out at all.
func (m *mirror) preparePartial(ctx context.Context, fresh string) error {
	reader := filepath.Join(m.home, "reader.git")
	if err := os.RemoveAll(reader); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.name, err)
	}
	format, err := m.all.local.run(ctx, command{args: []string{"rev-parse", "--show-object-format"}, dir: fresh, limit: time.Minute})
	if err != nil {
		return err
	}
	if _, err := m.all.local.run(ctx, command{
		args: []string{"init", "--quiet", "--bare", "--template=", "--object-format=" + strings.TrimSpace(string(format)), "--", reader}, dir: m.home, limit: time.Minute,
	}); err != nil {
		return err
	}
	promised, err := filepath.Glob(filepath.Join(fresh, "objects", "pack", "*.promisor"))
	m.unlimited = err == nil && len(promised) == 0
	if m.unlimited {
		m.all.options.Log.Info("server knows no partial clones, the mirror is complete", "repository", m.name)
	}
	return nil
}

// fetchMissing brings objects by their ids in one request.
func (m *mirror) fetchMissing(ctx context.Context, by *access, ids []string) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	still, err := m.missing(ctx, ids)
	if err != nil || len(still) == 0 {
		return err
	}
	if err := m.room(); err != nil {
		return err
	}
	o := m.all.options
	err = by.remote(ctx, "fetch", "", func() error {
		_, err := by.endpoint.run(ctx, command{
			args: []string{
				"-c", "fetch.negotiationAlgorithm=noop", "fetch", "--progress", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules",
				"--no-auto-maintenance", "--filter=blob:none", "--stdin", "--", by.endpoint.target(),
			},
			dir: m.dir, stdin: strings.Join(still, "\n") + "\n", limit: o.FetchTimeout, stall: o.StallTimeout, maxFile: o.MaxPackBytes, maxObjects: o.MaxObjects,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("repository %s: fetching %d files: %w", m.name, len(still), err)
	}
	m.measure()
	return nil
}

// missing are those of ids that the mirror lacks, in order, each once.
func (m *mirror) missing(ctx context.Context, ids []string) ([]string, error) {
	out, err := m.objects.git.run(ctx, command{
		args: []string{"cat-file", "--batch-check"}, dir: m.dir, stdin: strings.Join(ids, "\n") + "\n", limit: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var lacks []string
	for line := range strings.Lines(string(out)) {
		id, says, _ := strings.Cut(strings.TrimSpace(line), " ")
		if says == "missing" && fullID.MatchString(id) && !seen[id] {
			seen[id] = true
			lacks = append(lacks, id)
		}
	}
	return lacks, nil
}

// fill fetches the files of a folder of a partial mirror that are not there
// yet; those of folders in it too, unless it is the root of the repository:
// who reads an application reads below its folder.
func (s commitStore) fill(folder string, isRoot bool) error {
	ids, err := s.files(folder, isRoot, nil)
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return s.m.fetchMissing(s.m.all.ctx, s.by, ids)
}

var errEnough = errors.New("enough")

func (s commitStore) files(folder string, flat bool, ids []string) ([]string, error) {
	entries, err := s.folder(folder)
	if err != nil {
		return ids, err
	}
	for _, e := range entries {
		switch {
		case len(ids) >= batchLimit:
			return ids, errEnough
		case e.Kind == tree.Dir && flat:
		case e.Kind == tree.Dir:
			if ids, err = s.files(e.ID, false, ids); err != nil {
				return ids, err
			}
		case e.Kind != tree.Submodule:
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}
