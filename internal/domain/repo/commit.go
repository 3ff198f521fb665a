package repo

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Commit is what a commit object says about itself, for people.
type Commit struct {
	ID, Tree  string
	Parents   []string
	Author    Person
	Committer Person
	// Message without surrounding blank lines; what is no UTF-8 is replaced.
	Message string
	// Tags that lead to the commit; filled in by whoever knows the refs.
	Tags []string
}

// Person made something at a time.
type Person struct {
	Name, Email string
	At          time.Time // in the zone of the person; zero when unreadable
}

// String is "name <email>", as in api.md (revisions/{rev}/metadata).
func (p Person) String() string { return p.Name + " <" + p.Email + ">" }

// maxMessage bounds the message that is kept, in bytes.
const maxMessage = 64 << 10

// ParseCommit reads a commit object.
func ParseCommit(id string, raw []byte) (Commit, error) {
	head, message, _ := bytes.Cut(raw, []byte("\n\n"))
	c := Commit{ID: id}
	for line := range bytes.Lines(head) {
		key, value, ok := strings.Cut(strings.TrimRight(string(line), "\n"), " ")
		if !ok {
			continue
		}
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			c.Author = person(value)
		case "committer":
			c.Committer = person(value)
		}
	}
	if c.Tree == "" {
		return Commit{}, errors.New("commit object is damaged: it names no tree")
	}
	c.Message = strings.Trim(clean(message[:min(len(message), maxMessage)]), "\n")
	return c, nil
}

func clean(raw []byte) string {
	if utf8.Valid(raw) {
		return strings.ReplaceAll(string(raw), "\x00", "")
	}
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\uFFFD"), "\x00", "")
}

var signature = regexp.MustCompile(`^(.*?) ?<([^>]*)> ?(-?[0-9]{1,12})? ?([+-][0-9]{4})?$`)

func person(line string) Person {
	m := signature.FindStringSubmatch(clean([]byte(line)))
	if m == nil {
		return Person{Name: clean([]byte(line))}
	}
	p := Person{Name: m[1], Email: m[2]}
	seconds, err := strconv.ParseInt(m[3], 10, 64)
	if err != nil {
		return p
	}
	zone := time.UTC
	if offset, err := strconv.Atoi(m[4]); err == nil && offset != 0 {
		zone = time.FixedZone("", (offset/100*60+offset%100)*60)
	}
	p.At = time.Unix(seconds, 0).In(zone)
	return p
}

// Reference is a commit of another repository that led to this one
// (trailers Argocd-reference-commit-*).
type Reference struct{ Author, Date, Subject, Body, SHA, RepoURL string }

const referencePrefix = "argocd-reference-commit-"

// Trailers are the "Key: value" lines that end the message, keys in lower case;
// of several with one key the last counts.
func (c Commit) Trailers() map[string]string {
	at := strings.LastIndex(c.Message, "\n\n")
	if at < 0 {
		return nil
	}
	out := map[string]string{}
	for line := range strings.Lines(c.Message[at+2:]) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.Contains(key, " ") {
			out[strings.ToLower(key)] = strings.TrimSpace(value)
		}
	}
	return out
}

// References are the commits that the trailers name.
func (c Commit) References() []Reference {
	t := c.Trailers()
	r := Reference{
		Author: t[referencePrefix+"author"], Date: t[referencePrefix+"date"], Subject: t[referencePrefix+"subject"], Body: t[referencePrefix+"body"],
		SHA: t[referencePrefix+"sha"], RepoURL: t[referencePrefix+"repourl"],
	}
	if r == (Reference{}) {
		return nil
	}
	return []Reference{r}
}
