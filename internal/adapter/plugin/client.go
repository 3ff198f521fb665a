package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// DefaultDir is where sidecars put their sockets.
const DefaultDir = "/home/argocd/cmp-server/plugins"

// Options of a Client.
type Options struct {
	// Dir holds the sockets.
	Dir string
	// Exclude leaves files out of the archive (reposerver.plugin.tar.exclusions);
	// it is read before each use, nil leaves nothing out.
	Exclude func() []string
	// ChunkBytes is the size of the parts that are sent (default 64 KiB).
	ChunkBytes int
	// MaxBytes bounds the files that a plugin is sent (default 1 GiB).
	MaxBytes int64
	// Lender lends credentials to plugins that ask for them; nil lends none.
	Lender *Lender
	// Clock tells when the list of plugins is read again (default the real one).
	Clock clock.PassiveClock
}

// Client finds and calls plugins. It is safe for concurrent use.
type Client struct {
	options Options

	mu    sync.Mutex
	names []string
	read  time.Time // state of the folder that names is of
}

// NewClient makes a Client.
func NewClient(o Options) *Client {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = 64 << 10
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Exclude == nil {
		o.Exclude = func() []string { return nil }
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Client{options: o}
}

// Request is what a plugin is given.
type Request struct {
	Tree tree.Tree
	// Path of the Application in the tree.
	Path string
	// Root is the folder that is sent to Generate; empty is all.
	Root string
	Env  []EnvVar
	// Loan gives the credentials of the repository, for a plugin that asks for
	// them; nil is none.
	Loan func(context.Context) (Loan, error)
}

// settled is how long a folder must have been left alone before its time of
// change tells that nothing has changed: file systems count in steps.
const settled = time.Second

// Names lists the plugins whose sockets are there, in the order of discovery.
func (c *Client) Names() []string {
	info, err := os.Stat(c.options.Dir)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if changed := info.ModTime(); !changed.Equal(c.read) {
		c.read = time.Time{}
		if c.options.Clock.Since(changed) > settled {
			c.read = changed
		}
		c.names = sockets(c.options.Dir)
	}
	return c.names
}

func sockets(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".sock"); ok && e.Type()&fs.ModeSocket != 0 {
			out = append(out, name)
		}
	}
	return out
}

// Find gives the plugin that renders a source: the one that it names, which
// must not say no, or without a name the first that says yes.
func (c *Client) Find(ctx context.Context, name string, r Request) (string, error) {
	if name != "" {
		ok, err := c.suits(ctx, name, r, true)
		if err == nil && ok {
			return name, nil
		}
		return "", because(fmt.Sprintf("could not find cmp-server plugin with name %q supporting the given repository", name), err)
	}
	var last error
	for _, one := range c.Names() {
		ok, err := c.suits(ctx, one, r, false)
		if err == nil && ok {
			return one, nil
		}
		if err != nil {
			last = err
		}
	}
	return "", because("could not find plugin supporting the given repository", last)
}

func because(text string, err error) error {
	if err == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// suits asks a plugin whether it is for a source; one without discovery is for
// those that name it.
func (c *Client) suits(ctx context.Context, name string, r Request, named bool) (bool, error) {
	s, err := c.dial(name)
	if err != nil {
		return false, err
	}
	defer s.close()
	answer, err := client[empty, flags](s, methodCheck).CallUnary(ctx, connect.NewRequest(&empty{}))
	if err != nil {
		return false, status(err)
	}
	if !answer.Msg.first {
		return named, nil
	}
	r.Root = ""
	match, err := stream[flags](ctx, c, exchange{s, methodMatch}, r)
	if err != nil {
		return false, err
	}
	return match.first || named && !match.second, nil
}

// Generate lets a plugin render; the answer is its manifests, one each.
func (c *Client) Generate(ctx context.Context, name string, r Request) ([]string, error) {
	s, err := c.dial(name)
	if err != nil {
		return nil, err
	}
	defer s.close()
	lent, giveBack, err := c.lend(ctx, s, r)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	r.Env = append(slices.Clone(r.Env), lent...)
	out, err := stream[manifests](ctx, c, exchange{s, methodGenerate}, r)
	if err != nil {
		return nil, err
	}
	return out.documents, nil
}

// lend gives a plugin that asks for them the credentials of the repository.
func (c *Client) lend(ctx context.Context, s *socket, r Request) (env []EnvVar, giveBack func(), err error) {
	nothing := func() {}
	if c.options.Lender == nil || r.Loan == nil {
		return nil, nothing, nil
	}
	answer, err := client[empty, flags](s, methodCheck).CallUnary(ctx, connect.NewRequest(&empty{}))
	if err != nil {
		return nil, nothing, status(err)
	}
	if !answer.Msg.second {
		return nil, nothing, nil
	}
	loan, err := r.Loan(ctx)
	if err != nil || !loan.Present {
		return nil, nothing, err
	}
	return c.options.Lender.lend(loan)
}

// Parameters lists what a plugin lets users set.
func (c *Client) Parameters(ctx context.Context, name string, r Request) ([]Parameter, error) {
	s, err := c.dial(name)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r.Root = ""
	out, err := stream[announcement](ctx, c, exchange{s, methodParameters}, r)
	if err != nil {
		return nil, err
	}
	return out.parameters, nil
}

// socket is a connection to one plugin.
type socket struct {
	http  *http.Client
	close func()
}

// dial opens the socket of a plugin; its name never leaves the folder.
func (c *Client) dial(name string) (*socket, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("%q is not the name of a plugin", name)
	}
	file := filepath.Join(c.options.Dir, name+".sock")
	if info, err := os.Lstat(file); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("no plugin %q is connected: check that its sidecar runs; connected are %s", name, strings.Join(c.Names(), ", "))
	}
	return connectTo(file), nil
}

// connectTo opens a socket when it is first used.
func connectTo(file string) *socket {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", file)
	}}
	return &socket{&http.Client{Transport: transport}, transport.CloseIdleConnections}
}

func client[Q, A any](s *socket, method string) *connect.Client[Q, A] {
	return connect.NewClient[Q, A](s.http, "http://plugin"+method, connect.WithGRPC(), connect.WithCodec(codec{}), connect.WithReadMaxBytes(maxMessage))
}

// exchange is a method of one plugin.
type exchange struct {
	socket *socket
	method string
}

// stream sends a tree to a method of a plugin and receives the one answer.
func stream[A any](ctx context.Context, c *Client, to exchange, r Request) (*A, error) {
	var archive bytes.Buffer
	files, err := tree.Tar(&archive, r.Tree, tree.Packing{Root: r.Root, Exclude: c.options.Exclude(), Bytes: c.options.MaxBytes})
	if err != nil {
		return nil, fmt.Errorf("archive for the plugin: %w", err)
	}
	if files == 0 {
		return nil, errors.New("no files to send: the exclusions leave none")
	}
	at := path.Clean(r.Path)
	if r.Root != "" {
		at = strings.TrimPrefix(strings.TrimPrefix(at, path.Clean(r.Root)), "/")
	}
	if at == "" {
		at = "."
	}
	sum := sha256.Sum256(archive.Bytes())
	call := client[chunk, A](to.socket, to.method).CallClientStream(ctx)
	err = call.Send(&chunk{metadata: &metadata{
		appName: path.Base(at), appPath: at, checksum: hex.EncodeToString(sum[:]), size: int64(archive.Len()), env: r.Env,
	}})
	for part := range slices.Chunk(archive.Bytes(), c.options.ChunkBytes) {
		if err != nil {
			break // the answer says why
		}
		err = call.Send(&chunk{file: part, isFile: true})
	}
	response, err := call.CloseAndReceive()
	if err != nil {
		return nil, status(err)
	}
	return response.Msg, nil
}

// status writes an error of the other side as gRPC programs do.
func status(err error) error {
	if e := new(connect.Error); errors.As(err, &e) {
		code := e.Code().String()
		if code == "unknown" {
			code = "Unknown"
		}
		return fmt.Errorf("rpc error: code = %s desc = %s", code, e.Message())
	}
	return err
}
