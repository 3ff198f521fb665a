package render

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	ktypes "sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// fetchRemote replaces remote resources, bases and components by folders and
// files that are mounted into the tree, when administrators allow it.
func (f *treeFS) fetchRemote(k *ktypes.Kustomization, name string) (bool, error) {
	changed := false
	for _, list := range []struct {
		field   string
		entries []string
	}{{"resources", k.Resources}, {"components", k.Components}} {
		for i, entry := range list.entries {
			if !remoteFolder.MatchString(entry) {
				continue
			}
			if !f.job.Settings.RemoteBases {
				return false, refuseRemote(name, list.field, entry)
			}
			local, err := f.mountRemote(entry, name)
			if err != nil {
				return false, fmt.Errorf("%s: field %s: %s: %w", name, list.field, withoutQuery(entry), err)
			}
			list.entries[i], changed = local, true
		}
	}
	return changed, nil
}

// mountRemote fetches an entry and gives its path as seen from a kustomization.
func (f *treeFS) mountRemote(entry, kustomization string) (string, error) {
	dir := path.Dir(kustomization)
	target, isRepository := parseRemote(entry)
	if !isRepository {
		content, err := f.job.remote().File(f.job.ctx, entry)
		if err != nil {
			return "", err
		}
		base := fmt.Sprintf("%sfile-%d.yaml", virtual, len(f.overlay))
		f.overlay[path.Join(dir, base)] = content
		return base, nil
	}
	if _, err := tree.Parts(target.path); err != nil {
		return "", err
	}
	t, err := f.job.remote().Base(f.job.ctx, target.url, target.revision)
	if err != nil {
		return "", err
	}
	mount := fmt.Sprintf("%srepository-%d", virtual, len(f.mounts))
	f.mounts[mount] = t
	up := strings.Repeat("../", strings.Count(path.Join("/", dir), "/"))
	if path.Join("/", dir) == "/" {
		up = ""
	}
	return path.Join(up, mount, target.path), nil
}

// remoteTarget is a folder in a revision of a repository.
type remoteTarget struct{ url, path, revision string }

var manifestFile = regexp.MustCompile(`\.(ya?ml|json)$`)

// parseRemote reads the ways in which kustomize lets repositories be named;
// false is the URL of a single file.
func parseRemote(entry string) (remoteTarget, bool) {
	entry = strings.TrimPrefix(entry, "git::")
	location, query, _ := strings.Cut(entry, "?")
	var t remoteTarget
	for _, pair := range strings.Split(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key == "ref" || key == "version" && t.revision == "" {
			t.revision = value
		}
	}
	scheme, rest, hasScheme := strings.Cut(location, "://")
	if !hasScheme {
		scheme, rest = "", location
	}
	if !strings.Contains(location, ".git") && query == "" && manifestFile.MatchString(location) {
		return t, false
	}
	repository := rest
	if before, after, ok := strings.Cut(rest, "//"); ok {
		repository, t.path = before, after
	} else if before, after, ok := strings.Cut(rest, ".git/"); ok {
		repository, t.path = before+".git", after
	} else if parts := strings.SplitN(rest, "/", 4); len(parts) == 4 && !strings.Contains(parts[0], ":") {
		repository, t.path = strings.Join(parts[:3], "/"), parts[3]
	}
	switch {
	case hasScheme:
		t.url = scheme + "://" + repository
	case strings.Contains(repository, "@"):
		t.url = repository
	default: // github.com/org/repository
		t.url = "https://" + strings.Replace(repository, ":", "/", 1)
	}
	return t, true
}
