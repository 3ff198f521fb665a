package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Range is what a push of Bitbucket Cloud spans, which does not list the files.
type Range struct {
	// Repository is workspace/name; From and To are commits.
	Repository, From, To string
}

// Diffstat asks Bitbucket Cloud which files a push changed, with the credential
// that the repository is read with (spec/observability.md §5.1).
type Diffstat struct {
	// Base is the API, https://api.bitbucket.org unless in tests.
	Base string
	// Repository gives the credential; it is sent to Base only, and only for
	// repositories of bitbucket.org.
	Repository func(url string) repo.Repository
	// Transport is http.DefaultTransport when nil.
	Transport http.RoundTripper
}

// Bounds of a question.
const (
	diffstatTime = 10 * time.Second
	maxDiffstat  = 4 << 20
	// maxQuestions are asked at a time.
	maxQuestions = 4
)

var (
	commitID       = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
	repositoryName = regexp.MustCompile(`^[A-Za-z0-9_.{}-]{1,100}/[A-Za-z0-9_.{}-]{1,100}$`)
)

// Files gives the files; an error when they are not all known.
func (d *Diffstat) Files(ctx context.Context, p Push) ([]string, error) {
	r := p.Range
	if r == nil || !commitID.MatchString(r.From) || !commitID.MatchString(r.To) || !repositoryName.MatchString(r.Repository) || strings.Contains(r.Repository, "..") {
		return nil, errors.New("the push names no two commits")
	}
	ctx, cancel := context.WithTimeout(ctx, diffstatTime)
	defer cancel()
	owner, name, _ := strings.Cut(r.Repository, "/")
	at := fmt.Sprintf("%s/2.0/repositories/%s/%s/diffstat/%s..%s?pagelen=500", d.Base, url.PathEscape(owner), url.PathEscape(name), r.To, r.From)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, errors.New("the question is no URL")
	}
	d.sign(q, p.URL)
	client := &http.Client{Transport: d.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(q)
	if err != nil {
		return nil, fmt.Errorf("bitbucket does not answer: %w", errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("bitbucket answers %d", response.StatusCode)
	}
	type side struct {
		Path string `json:"path"`
	}
	var page struct {
		Values []struct {
			Old, New *side
		} `json:"values"`
		Next string `json:"next"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDiffstat)).Decode(&page); err != nil {
		return nil, errors.New("the answer of bitbucket is not understood")
	}
	if page.Next != "" {
		return nil, errors.New("more files changed than one page lists")
	}
	out := []string{}
	for _, v := range page.Values {
		for _, s := range []*side{v.Old, v.New} {
			if s != nil && s.Path != "" {
				out = append(out, s.Path)
			}
		}
	}
	if len(out) > maxFiles {
		return nil, errors.New("more files changed than are looked at")
	}
	return out, nil
}

// sign adds the credential of a repository of Bitbucket Cloud.
func (d *Diffstat) sign(q *http.Request, at string) {
	host := repo.HostOf(at)
	if host != "bitbucket.org" {
		return
	}
	switch r := d.Repository(at); {
	case r.BearerToken != "":
		q.Header.Set("Authorization", "Bearer "+r.BearerToken.Reveal())
	case r.Username == "x-token-auth" && r.Password != "":
		q.Header.Set("Authorization", "Bearer "+r.Password.Reveal())
	case r.Username != "" && r.Password != "":
		q.SetBasicAuth(r.Username, r.Password.Reveal())
	}
}
