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

	"connectrpc.com/connect"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// DefaultDir is where sidecars put their sockets.
const DefaultDir = "/home/argocd/cmp-server/plugins"

// Options of a Client.
type Options struct {
	// Dir holds the sockets.
	Dir string
	// Exclude leaves files out of the archive (reposerver.plugin.tar.exclusions).
	Exclude []string
	// ChunkBytes is the size of the parts that are sent (default 64 KiB).
	ChunkBytes int
	// MaxBytes bounds the files that a plugin is sent (default 1 GiB).
	MaxBytes int64
}

// Client finds and calls plugins. It is safe for concurrent use.
type Client struct{ options Options }

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
	return &Client{o}
}

// Request is what a plugin is given.
type Request struct {
	Tree tree.Tree
	// Path of the Application in the tree.
	Path string
	// Root is the folder that is sent to Generate; empty is all.
	Root string
	Env  []EnvVar
}

// Names lists the plugins whose sockets are there, in the order of discovery.
func (c *Client) Names() []string {
	entries, err := os.ReadDir(c.options.Dir)
	if err != nil {
		return nil
	}
	var out []string
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
	out, err := stream[manifests](ctx, c, exchange{s, methodGenerate}, r)
	if err != nil {
		return nil, err
	}
	return out.documents, nil
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
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", file)
	}}
	return &socket{&http.Client{Transport: transport}, transport.CloseIdleConnections}, nil
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
	files, err := tree.Tar(&archive, r.Tree, tree.Packing{Root: r.Root, Exclude: c.options.Exclude, Bytes: c.options.MaxBytes})
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
