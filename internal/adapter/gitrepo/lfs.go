package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// pointer stands in Git for a file that Git LFS keeps elsewhere.
type pointer struct {
	oid  string // SHA-256 in hex
	size int64
}

var pointerForm = regexp.MustCompile(`\Aversion https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?\z`)

func parsePointer(content []byte) (pointer, bool) {
	if len(content) > 1024 {
		return pointer{}, false
	}
	m := pointerForm.FindSubmatch(content)
	if m == nil {
		return pointer{}, false
	}
	size, err := strconv.ParseInt(string(m[2]), 10, 64)
	return pointer{string(m[1]), size}, err == nil
}

// large gives what a pointer stands for: from the mirror, else from the LFS
// server of the repository, checked by its digest both times. Where the server
// is follows from the URL of the repository, never from its content.
func (s commitStore) large(p pointer) ([]byte, error) {
	if limit := s.m.all.options.MaxFileBytes; p.size > limit {
		return nil, fmt.Errorf("Git LFS: %w: %d bytes, at most %d are read", errTooBig, p.size, limit)
	}
	file := filepath.Join(s.m.largeDir(), p.oid)
	if kept, err := os.ReadFile(file); err == nil && p.matches(kept) {
		now := s.m.all.options.Clock.Now()
		_ = os.Chtimes(file, now, now) // it is in use; should it vanish just now, it comes again
		return kept, nil
	}
	v, err, _ := s.m.fetches.Do(s.by.id+"lfs"+p.oid, func() (any, error) {
		var content []byte
		err := s.by.remote(s.m.all.ctx, "lfs", "", func() error {
			var err error
			content, err = s.download(s.m.all.ctx, p)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("repository %s: Git LFS object %s: %w", s.m.name, p.oid[:12], err)
		}
		if err := keepFile(file, content); err != nil {
			s.m.all.options.Log.Warn("large file not kept", "repository", s.m.name, "error", err.Error())
		}
		return content, nil
	})
	if err != nil {
		return nil, err
	}
	return v.([]byte), nil
}

// largeDir holds files of Git LFS by their digest.
func (m *mirror) largeDir() string { return filepath.Join(m.home, "lfs") }

func (p pointer) matches(content []byte) bool {
	sum := sha256.Sum256(content)
	return int64(len(content)) == p.size && hex.EncodeToString(sum[:]) == p.oid
}

func keepFile(file string, content []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = os.WriteFile(file+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	return err
}

// action is what a batch answer says about one object.
type action struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header"`
}

type batchAnswer struct {
	Objects []struct {
		OID     string `json:"oid"`
		Actions struct {
			Download *action `json:"download"`
		} `json:"actions"`
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"objects"`
}

func (s commitStore) download(ctx context.Context, p pointer) ([]byte, error) {
	e := s.by.endpoint
	ctx, cancel := context.WithTimeout(ctx, s.m.all.options.FetchTimeout)
	defer cancel()
	server, err := e.largeServer(ctx, s.m.all.options.RequestTimeout)
	if err != nil {
		return nil, err
	}
	ask, err := json.Marshal(map[string]any{
		"operation": "download", "transfers": []string{"basic"}, "hash_algo": "sha256", "objects": []map[string]any{{"oid": p.oid, "size": p.size}},
	})
	if err != nil {
		return nil, fmt.Errorf("batch request: %w", err)
	}
	const media = "application/vnd.git-lfs+json"
	headers := map[string]string{"Accept": media, "Content-Type": media}
	maps.Copy(headers, server.Header)
	raw, err := e.fetchHTTP(ctx, ask, action{Href: strings.TrimRight(server.Href, "/") + "/objects/batch", Header: headers}, 1<<20)
	if err != nil {
		return nil, err
	}
	var answer batchAnswer
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer.Objects) != 1 || answer.Objects[0].OID != p.oid {
		return nil, errors.New("the server gave no usable answer: check that it speaks the LFS batch API")
	}
	switch o := answer.Objects[0]; {
	case o.Error != nil:
		return nil, fmt.Errorf("the server says %d: push it with git lfs push", o.Error.Code)
	case o.Actions.Download == nil:
		return nil, errors.New("the server offers no download: push it with git lfs push")
	default:
		content, err := e.fetchHTTP(ctx, nil, *o.Actions.Download, p.size)
		if err == nil && !p.matches(content) {
			err = errors.New("the server sent something else")
		}
		return content, err
	}
}

// largeServer says where the LFS server of the repository is: beside it, or,
// over ssh, where the host itself says.
func (e *endpoint) largeServer(ctx context.Context, limit time.Duration) (action, error) {
	switch e.address.Scheme {
	case "http", "https":
		base := strings.TrimRight(e.target(), "/")
		if !strings.HasSuffix(base, ".git") {
			base += ".git"
		}
		return action{Href: base + "/info/lfs"}, nil
	case "ssh":
	default:
		return action{}, errors.New("Git LFS is read over https and ssh only")
	}
	path, err := url.PathUnescape(e.address.Path)
	if err != nil {
		return action{}, errors.New("the path of the repository cannot be read")
	}
	host := e.address.Host
	if e.address.User != "" {
		host = e.address.User + "@" + host
	}
	args := sshWords(e.repository, e.files, e.tunnel)[1:]
	if e.address.Port != "" {
		args = append(args, "-p", e.address.Port)
	}
	// The other side hands the words to a shell.
	args = append(args, "--", host, "git-lfs-authenticate '"+strings.ReplaceAll(path, "'", `'\''`)+"' download")
	out, err := e.run(ctx, command{program: "ssh", args: args, dir: e.dir, limit: limit, maxOutput: 1 << 20})
	if err != nil {
		return action{}, err
	}
	var server action
	if err := json.Unmarshal(out, &server); err != nil || server.Href == "" {
		return action{}, errors.New("the host knows no git-lfs-authenticate: declare the repository with its https URL")
	}
	return server, nil
}

// fetchHTTP does a request that carries the credentials of the repository only
// to its own origin, and headers of an LFS server only to where it sent us.
func (e *endpoint) fetchHTTP(ctx context.Context, body []byte, with action, limit int64) ([]byte, error) {
	method, target := http.MethodGet, with.Href
	if body != nil {
		method = http.MethodPost
	}
	for range 5 {
		u, err := url.Parse(target)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != e.address.Scheme) {
			return nil, fmt.Errorf("the address %s is not usable", repo.Redact(target))
		}
		request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
		if err != nil {
			return nil, errors.New("the address is not usable")
		}
		at := repo.Address{Scheme: u.Scheme, Host: strings.ToLower(u.Hostname()), Port: u.Port()}
		if header := e.header(); header != "" && at.Origin() == e.origin() {
			request.Header.Set("Authorization", strings.TrimPrefix(header, "Authorization: "))
		}
		for k, v := range with.Header {
			request.Header.Set(k, v)
		}
		answer, err := e.client.Do(request)
		if err != nil {
			return nil, &gitError{verb: "lfs", said: fmt.Sprintf("%s cannot be reached", repo.Redact(at.Origin())), kind: errRemote}
		}
		content, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
		_ = answer.Body.Close()
		switch code := answer.StatusCode; {
		case err != nil:
			return nil, &gitError{verb: "lfs", said: "the connection broke", kind: errRemote}
		case code >= 300 && code < 400:
			next, err := answer.Location()
			if err != nil || method != http.MethodGet {
				return nil, fmt.Errorf("%s redirects to nowhere", at.Origin())
			}
			target, with = next.String(), action{}
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			return nil, &gitError{verb: "lfs", said: fmt.Sprintf("%s refuses the credentials (%d)", at.Origin(), code), kind: errRefused}
		case code != http.StatusOK:
			return nil, &gitError{verb: "lfs", said: fmt.Sprintf("%s answers %d", at.Origin(), code), kind: errRemote}
		case int64(len(content)) > limit:
			return nil, fmt.Errorf("%s sends more than %d bytes", at.Origin(), limit)
		default:
			return content, nil
		}
	}
	return nil, errors.New("more than 5 redirects")
}
