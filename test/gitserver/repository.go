package gitserver

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Files are contents by path.
type Files map[string]string

// Change is one commit.
type Change struct {
	// Branch to commit to, default main; it is made when missing.
	Branch string
	// From is what a new branch starts at, default nothing.
	From    string
	Message string
	Write   Files
	// Links are symbolic links: target by path.
	Links Files
	// Submodules are commits of other repositories by path; .gitmodules is
	// the caller's.
	Submodules Files
	// Remove lists files or folders; they are removed before anything is written.
	Remove []string
}

// Repository is a bare repository of a Server, or of a folder of its own.
type Repository struct {
	dir string
	now func() int64
	// writing is held from reading a branch to moving it, so that commits of
	// several goroutines follow one another.
	writing sync.Mutex
}

// Create makes an empty repository; a name may contain slashes.
func (s *Server) Create(name string) (*Repository, error) {
	dir := filepath.Join(s.dir, filepath.FromSlash(name)+".git")
	if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("git server: repository %s exists", name)
	}
	r := &Repository{dir: dir, now: func() int64 { return s.options.Clock.Now().Unix() }}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("git server: %w", err)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main"},
		{"config", "http.receivepack", "true"},
		{"config", "uploadpack.allowFilter", "true"},
	} {
		if _, err := r.Git(args...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Dir is the folder of the bare repository, for file:// URLs.
func (r *Repository) Dir() string { return r.dir }

// Commit writes files to the branch main and returns the new commit.
func (r *Repository) Commit(message string, files Files) (string, error) {
	return r.Apply(Change{Message: message, Write: files})
}

// Apply makes one commit and returns its id.
func (r *Repository) Apply(c Change) (string, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	branch := "refs/heads/" + c.branch()
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit %s\ncommitter Sluice <sluice@example.com> %d +0000\n", branch, r.now())
	data(&in, c.Message)
	if parent, err := r.Git("rev-parse", "--verify", "--quiet", branch); err == nil {
		fmt.Fprintf(&in, "from %s\n", parent)
	} else if c.From != "" {
		fmt.Fprintf(&in, "from %s\n", c.From)
	}
	for _, path := range c.Remove {
		fmt.Fprintf(&in, "D %s\n", path)
	}
	for _, path := range slices.Sorted(maps.Keys(c.Write)) {
		fmt.Fprintf(&in, "M 100644 inline %s\n", path)
		data(&in, c.Write[path])
	}
	for _, path := range slices.Sorted(maps.Keys(c.Links)) {
		fmt.Fprintf(&in, "M 120000 inline %s\n", path)
		data(&in, c.Links[path])
	}
	for _, path := range slices.Sorted(maps.Keys(c.Submodules)) {
		fmt.Fprintf(&in, "M 160000 %s %s\n", c.Submodules[path], path)
	}
	return r.fastImport(branch, &in)
}

func (c Change) branch() string {
	if c.Branch == "" {
		return "main"
	}
	return c.Branch
}

func data(in *bytes.Buffer, text string) { fmt.Fprintf(in, "data %d\n%s\n", len(text), text) }

func (r *Repository) fastImport(ref string, in *bytes.Buffer) (string, error) {
	if _, err := r.git(in, "fast-import", "--quiet", "--force"); err != nil {
		return "", err
	}
	return r.Git("rev-parse", ref)
}

// Revert makes a commit on main that gives the files changed by a commit the
// content they had before it.
func (r *Repository) Revert(id string) (string, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	raw, err := r.Git("diff-tree", "-r", "--no-renames", id+"^", id)
	if err != nil {
		return "", err
	}
	parent, err := r.Git("rev-parse", "refs/heads/main")
	if err != nil {
		return "", err
	}
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Sluice <sluice@example.com> %d +0000\n", r.now())
	data(&in, "Revert "+id)
	fmt.Fprintf(&in, "from %s\n", parent)
	for _, line := range strings.Split(raw, "\n") {
		facts, path, ok := strings.Cut(line, "\t")
		fields := strings.Fields(strings.TrimPrefix(facts, ":"))
		if !ok || len(fields) != 5 {
			continue
		}
		if fields[4] == "A" {
			fmt.Fprintf(&in, "D %s\n", path)
			continue
		}
		fmt.Fprintf(&in, "M %s %s %s\n", fields[0], fields[2], path)
	}
	return r.fastImport("refs/heads/main", &in)
}

// Tag makes or moves a tag; an annotated one when it has a message.
func (r *Repository) Tag(name, at, message string) error {
	args := []string{"tag", "--force"}
	if message != "" {
		args = append(args, "--annotate", "--message", message)
	}
	_, err := r.Git(append(args, "--", name, at)...)
	return err
}

// Git runs any git command in the repository and returns its trimmed output.
func (r *Repository) Git(args ...string) (string, error) { return r.git(nil, args...) }

func (r *Repository) git(in *bytes.Buffer, args ...string) (string, error) {
	cmd := exec.Command("git", args...) //nolint:gosec // a tool of tests and the demo, run with their own arguments
	cmd.Dir = r.dir
	cmd.Env = append(cleanEnvironment(), "PATH="+os.Getenv("PATH"),
		"GIT_AUTHOR_NAME=Sluice", "GIT_AUTHOR_EMAIL=sluice@example.com", "GIT_COMMITTER_NAME=Sluice", "GIT_COMMITTER_EMAIL=sluice@example.com",
		fmt.Sprintf("GIT_AUTHOR_DATE=%d +0000", r.now()), fmt.Sprintf("GIT_COMMITTER_DATE=%d +0000", r.now()))
	if in != nil {
		cmd.Stdin = in
	}
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
