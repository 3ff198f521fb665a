package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/heartbeat"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Options of a Client.
type Options struct {
	// Address is host:port of the repo-server.
	Address string
	// TLS is what authority.Client gave.
	TLS *tls.Config
	// Timeout bounds one call (default 60 s, controller.repo.server.timeout.seconds).
	Timeout time.Duration
	Clock   clock.Clock
	Log     *slog.Logger
}

// Client asks a repo-server. It is safe for concurrent use.
type Client struct {
	options Options
	http    *http.Client
	ctx     context.Context //nolint:containedctx // the life of the watches
	mu      sync.Mutex
	watches map[string]*watch
}

var _ manifest.Renderer = (*Client)(nil)

// NewClient makes a Client whose watches live until ctx ends.
func NewClient(ctx context.Context, o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	return &Client{options: o, ctx: ctx, watches: map[string]*watch{}, http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: o.TLS, Protocols: protocols, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true},
	}}
}

func (c *Client) post(ctx context.Context, path string, q any) (*http.Response, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("repo-server: %w", err)
	}
	return c.send(ctx, path, bytes.NewReader(body))
}

func (c *Client) send(ctx context.Context, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.options.Address+path, body)
	if err != nil {
		return nil, fmt.Errorf("repo-server: %w", err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("repo-server %s does not answer: %w", c.options.Address, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	f := &failure{}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxRequest)).Decode(f); err != nil || f.Message == "" {
		return nil, fmt.Errorf("repo-server %s answered %d", c.options.Address, response.StatusCode)
	}
	return nil, f
}

func call[A any](ctx context.Context, c *Client, path string, q any) (answer A, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	response, err := c.post(ctx, path, q) //nolint:bodyclose // answerOf closes it
	if err != nil {
		return answer, err
	}
	return answerOf[A](c, response)
}

// answerOf reads an answer to its end.
func answerOf[A any](c *Client, response *http.Response) (answer A, err error) {
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("repo-server %s: the answer was cut short: %w", c.options.Address, err)
	}
	return answer, nil
}

// Resolve gives the commit, chart version or digest of a source.
func (c *Client) Resolve(ctx context.Context, project string, src v1alpha1.ApplicationSource, fresh bool) (string, error) {
	a, err := call[resolveAnswer](ctx, c, pathResolve, resolveRequest{project, src, fresh})
	return a.Revision, err
}

// Verify says whether the revisions are signed as the project demands; the
// repo-server checks with the keys that it knows itself.
func (c *Client) Verify(ctx context.Context, project *v1alpha1.AppProject, sources []v1alpha1.ApplicationSource, revisions []string, _ []signature.Key) error {
	_, err := call[struct{}](ctx, c, pathVerify, verifyRequest{project, sources, revisions})
	return err
}

// Describe says what a revision is, for people.
func (c *Client) Describe(ctx context.Context, project string, src v1alpha1.ApplicationSource, revision string, _ []signature.Key) (manifest.Description, error) {
	return call[manifest.Description](ctx, c, pathDescribe, describeRequest{project, src, revision})
}

// Generate renders all sources at the revisions, one per source.
func (c *Client) Generate(ctx context.Context, q manifest.Query, revisions []string) (*manifest.Manifests, error) {
	var a generateAnswer
	var err error
	if q.Local != nil {
		a, err = c.upload(ctx, generateRequest{q, revisions}, q.Local)
	} else {
		a, err = call[generateAnswer](ctx, c, pathGenerate, generateRequest{q, revisions})
	}
	if err != nil {
		return nil, err
	}
	objects, err := render.DecodeObjects(a.Objects)
	if err != nil {
		return nil, err
	}
	return &manifest.Manifests{Objects: objects, Revisions: a.Revisions, SourceTypes: a.SourceTypes, Digest: a.Digest, Warnings: a.Warnings}, nil
}

// Decide gives the digest that Generate would give, when that is known without
// rendering anything.
func (c *Client) Decide(ctx context.Context, q manifest.Query, revisions []string) (digest string, known bool, err error) {
	if q.Local != nil {
		return "", false, errLocal
	}
	a, err := call[decideAnswer](ctx, c, pathDecide, generateRequest{q, revisions})
	return a.Digest, a.Known, err
}

// Keep keeps the manifests of deployments until the holder names others.
func (c *Client) Keep(ctx context.Context, holder string, past []manifest.Deployment) error {
	_, err := call[struct{}](ctx, c, pathKeep, keepRequest{holder, past})
	return err
}

// Tree reads a revision of a Git repository; its files come when they are read.
func (c *Client) Tree(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error) {
	q := openRequest{project, repoURL, revision, fresh}
	a, err := call[resolveAnswer](ctx, c, pathOpen, q)
	if err != nil {
		return nil, err
	}
	q.Revision, q.Fresh = a.Revision, false
	return &remoteTree{client: c, open: q, known: map[readRequest]readAnswer{}}, nil
}

// remoteTree asks for what is read, once.
type remoteTree struct {
	client *Client
	open   openRequest
	mu     sync.Mutex
	known  map[readRequest]readAnswer
}

func (t *remoteTree) Revision() string { return t.open.Revision }

func (t *remoteTree) ask(op, path string) (readAnswer, error) {
	q := readRequest{t.open, op, path}
	t.mu.Lock()
	a, ok := t.known[q]
	t.mu.Unlock()
	if ok {
		return a, nil
	}
	a, err := call[readAnswer](t.client.ctx, t.client, pathRead, q)
	if err != nil {
		return a, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[q] = a
	return a, nil
}

func (t *remoteTree) ReadFile(path string) ([]byte, error) {
	a, err := t.ask(opFile, path)
	return a.Content, err
}

func (t *remoteTree) ReadDir(path string) ([]tree.Entry, error) {
	a, err := t.ask(opDir, path)
	return a.Entries, err
}

func (t *remoteTree) Stat(path string) (tree.Entry, error) {
	a, err := t.ask(opStat, path)
	return a.Entry, err
}

// watch is one stream for all who wait for the same.
type watch struct {
	cancel   context.CancelFunc
	next     int
	notified map[int]func()
}

// Subscribe calls notify when the source resolves differently than before, and
// after every time when the repo-server could not be asked.
func (c *Client) Subscribe(project string, src v1alpha1.ApplicationSource, notify func()) (cancel func(), err error) {
	q := resolveRequest{Project: project, Source: v1alpha1.ApplicationSource{
		RepoURL: src.RepoURL, Path: src.Path, Chart: src.Chart, TargetRevision: src.TargetRevision, TagPrefix: src.TagPrefix, Ref: src.Ref,
	}}
	if src.Chart == "" {
		q.Source.Path, q.Source.Ref = "", "" // the same for all paths of a repository
	}
	raw, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("repo-server: %w", err)
	}
	key := string(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watches[key]
	if w == nil {
		ctx, stop := context.WithCancel(c.ctx)
		w = &watch{cancel: stop, notified: map[int]func(){}}
		c.watches[key] = w
		go c.run(ctx, q, w)
	}
	w.next++
	id := w.next
	w.notified[id] = notify
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(w.notified, id)
		if len(w.notified) == 0 && c.watches[key] == w {
			w.cancel()
			delete(c.watches, key)
		}
	}), nil
}

func (c *Client) notify(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range w.notified {
		go f()
	}
}

// longestPause bounds the one before a stream is opened again.
const longestPause = 30 * time.Second

// run keeps a stream open until ctx ends.
func (c *Client) run(ctx context.Context, q resolveRequest, w *watch) {
	heartbeat.Loop{
		Clock: c.options.Clock, Longest: longestPause,
		Open: func(ctx context.Context, again bool) (bool, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			response, err := c.post(ctx, pathWatch, q)
			if err != nil {
				return false, err
			}
			defer func() { _ = response.Body.Close() }()
			return heartbeat.Read(ctx, response.Body, c.options.Clock, again, func() { c.notify(w) })
		},
		Interrupted: func(err error, pause time.Duration) {
			c.options.Log.Warn("watch of a source was interrupted", "repo", q.Source.RepoURL, "error", err.Error(), "retry", pause.String())
		},
	}.Keep(ctx)
}
