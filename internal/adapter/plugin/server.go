package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"connectrpc.com/connect"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Server runs one plugin in its sidecar.
type Server struct {
	Config Config
	// SocketDir gets the socket; WorkDir is emptied at the start.
	SocketDir, WorkDir string
	// Version is that of the program.
	Version string
	Log     *slog.Logger

	calls sync.WaitGroup // under way
}

// Serve listens until ctx ends, and returns when no call is under way any more.
func (s *Server) Serve(ctx context.Context) error {
	if err := os.RemoveAll(s.WorkDir); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	if err := os.MkdirAll(s.WorkDir, 0o700); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	file := filepath.Join(s.SocketDir, s.Config.Name()+".sock")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("socket left behind: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", file)
	if err != nil {
		return fmt.Errorf("socket of the plugin: %w", err)
	}
	handler, err := s.handler()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		defer s.calls.Done()
		handler.ServeHTTP(w, r)
	})
	server := &http.Server{Handler: counted, Protocols: protocols, BaseContext: func(net.Listener) context.Context { return ctx }} //nolint:gosec // a unix socket; calls end with their deadline
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	defer s.calls.Wait()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	o := []connect.HandlerOption{connect.WithCodec(codec{}), connect.WithReadMaxBytes(maxMessage), connect.WithRecover(
		func(_ context.Context, _ connect.Spec, _ http.Header, p any) error {
			return connect.NewError(connect.CodeInternal, fmt.Errorf("%v", p))
		})}
	mux.Handle(methodCheck, connect.NewUnaryHandler(methodCheck, func(context.Context, *connect.Request[empty]) (*connect.Response[flags], error) {
		return connect.NewResponse(&flags{s.Config.Spec.Discover.configured(), s.Config.Spec.ProvideGitCreds}), nil
	}, o...))
	mux.Handle(methodGenerate, handle(s, methodGenerate, "error generating manifests", s.generate, o))
	mux.Handle(methodMatch, handle(s, methodMatch, "match repository error", s.match, o))
	mux.Handle(methodParameters, handle(s, methodParameters, "get parameters announcement error", s.announce, o))
	return mux, s.standard(mux, o)
}

// call is one request with its unpacked tree.
type call struct {
	root, dir string
	env       []string
}

func handle[A any](s *Server, method, prefix string, work func(context.Context, call) (*A, error), o []connect.HandlerOption) http.Handler {
	return connect.NewClientStreamHandler(method, func(ctx context.Context, in *connect.ClientStream[chunk]) (*connect.Response[A], error) {
		root, err := os.MkdirTemp(s.WorkDir, "")
		if err != nil {
			return nil, connect.NewError(connect.CodeUnknown, err)
		}
		defer func() { _ = os.RemoveAll(root) }()
		c, err := s.receive(in, root)
		if err != nil {
			return nil, connect.NewError(connect.CodeUnknown, fmt.Errorf("%s receiving stream: %w", strings.Replace(prefix, "error generating manifests", "generate manifest error", 1), err))
		}
		answer, err := work(ctx, c)
		if err != nil {
			return nil, connect.NewError(connect.CodeUnknown, fmt.Errorf("%s: %w", prefix, err))
		}
		return connect.NewResponse(answer), nil
	}, o...)
}

// receive unpacks the tree of a stream into root.
func (s *Server) receive(in *connect.ClientStream[chunk], root string) (call, error) {
	if !in.Receive() || in.Msg().metadata == nil {
		return call{}, errors.Join(in.Err(), errStream)
	}
	m := in.Msg().metadata
	file, err := os.CreateTemp(s.WorkDir, "archive-")
	if err != nil {
		return call{}, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	for in.Receive() {
		if !in.Msg().isFile {
			return call{}, errors.New("stream request file is nil")
		}
		if _, err := io.MultiWriter(file, sum).Write(in.Msg().file); err != nil {
			return call{}, err
		}
	}
	if err := in.Err(); err != nil {
		return call{}, err
	}
	if err := verify(sum, m.checksum); err != nil {
		return call{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return call{}, err
	}
	if err := unpack(file, root, s.Config.Spec.PreserveFileMode); err != nil {
		return call{}, err
	}
	if at := path.Clean(m.appPath); at == ".." || strings.HasPrefix(at, "../") || strings.HasPrefix(at, "/") {
		return call{}, errors.New("illegal appPath: out of workDir bound")
	}
	c := call{root: root, dir: filepath.Join(root, filepath.FromSlash(m.appPath)), env: os.Environ()}
	for _, e := range m.env {
		if e.Name != "" && !strings.ContainsAny(e.Name, "=\x00") && !strings.ContainsRune(e.Value, 0) {
			c.env = append(c.env, e.Name+"="+e.Value)
		}
	}
	return c, nil
}

func verify(sum hash.Hash, want string) error {
	if hex.EncodeToString(sum.Sum(nil)) != want {
		return errors.New("file checksum validation error")
	}
	return nil
}

func (s *Server) generate(ctx context.Context, c call) (*manifests, error) {
	if len(s.Config.Spec.Init.Command) > 0 {
		if _, err := s.exec(ctx, c, s.Config.Spec.Init); err != nil {
			return nil, err
		}
	}
	out, err := s.exec(ctx, c, s.Config.Spec.Generate)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		s.Log.Warn("the plugin printed nothing", "plugin", s.Config.Name())
	}
	answer := &manifests{}
	d := kyaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		var document any
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return answer, nil
		}
		if err != nil {
			return nil, fmt.Errorf("output is neither YAML nor JSON: %w", err)
		}
		if document == nil {
			continue
		}
		raw, err := json.Marshal(document)
		if err != nil {
			return nil, err
		}
		answer.documents = append(answer.documents, string(raw))
	}
}

func (s *Server) match(ctx context.Context, c call) (*flags, error) {
	d := s.Config.Spec.Discover
	switch {
	case d.FileName != "":
		found, err := filepath.Glob(filepath.Join(escape(c.dir), d.FileName))
		return &flags{len(found) > 0, true}, err
	case d.Find.Glob != "":
		found, err := globBelow(c.dir, d.Find.Glob)
		return &flags{found, true}, err
	case len(d.Find.Command.Command) > 0:
		out, err := s.exec(ctx, c, d.Find.Command)
		if err != nil {
			return nil, fmt.Errorf("error running find command: %w", err)
		}
		return &flags{len(bytes.TrimSuffix(out, []byte("\n"))) > 0, true}, nil
	}
	return &flags{}, nil
}

func (s *Server) announce(ctx context.Context, c call) (*announcement, error) {
	answer := &announcement{}
	if dynamic := s.Config.Spec.Params.Dynamic; len(dynamic.Command) > 0 {
		out, err := s.exec(ctx, c, dynamic)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(out, &answer.parameters); err != nil || len(bytes.TrimSpace(out)) == 0 {
			return nil, errors.New("the dynamic parameters are not a JSON list")
		}
	}
	answer.parameters = append(answer.parameters, s.Config.Spec.Params.Static...)
	return answer, nil
}
