package webhook

import (
	"path"
	"strings"

	"github.com/gobwas/glob"
)

// concerned says whether changed files concern a source, by the annotation
// manifest-generate-paths of its Application (spec/observability.md §5.1 rule
// 4): entries divided by semicolons, relative ones below the path of the source.
// Without annotation or without a list of files, everything concerns it.
func concerned(annotation, sourcePath string, files []string) bool {
	if annotation == "" || files == nil {
		return true
	}
	for _, entry := range strings.Split(annotation, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if !strings.HasPrefix(entry, "/") {
			entry = path.Join("/", sourcePath, entry)
		}
		entry = strings.TrimPrefix(path.Clean(entry), "/")
		var pattern glob.Glob
		if strings.ContainsAny(entry, "*?[{") {
			pattern, _ = glob.Compile(entry, '/') // what is no pattern is a name
		}
		for _, f := range files {
			f = strings.TrimPrefix(path.Clean("/"+f), "/")
			if entry == "" || f == entry || strings.HasPrefix(f, entry+"/") || (pattern != nil && pattern.Match(f)) {
				return true
			}
		}
	}
	return false
}
