package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Command is the hidden command of the binary that runs Serve; its argument
// is the memory limit in bytes.
const Command = "render-worker"

// How much a child lets its memory grow between two collections: little renders
// are fast, and large ones stay small. What has read largeInput bytes is large.
const (
	relaxedGC  = 200
	strictGC   = 50
	largeInput = 256 << 10
)

// maxStack bounds the recursion of a render.
const maxStack = 128 << 20

// Serve renders what the parent asks for over in and out, until in ends. It
// first gives up everything that a render does not need; what cannot be given
// up is an error.
func Serve(ctx context.Context, in io.Reader, out io.Writer, memory int64) error {
	debug.SetMaxStack(maxStack)
	debug.SetMemoryLimit(memory / 10 * 8)
	debug.SetGCPercent(relaxedGC)
	render.Warm()
	if err := closeOff(memory); err != nil {
		return fmt.Errorf("render worker: %w", err)
	}
	c := &child{conn: newConn(in, out), frames: make(chan frame)}
	if err := c.send(frameReady, nil); err != nil {
		return err
	}
	go c.listen()
	for f := range c.frames {
		if f.kind == frameAhead {
			c.ahead = f.body
			continue
		}
		if f.kind != frameRequest {
			return errFrame
		}
		if err := c.serve(ctx, f.body); err != nil {
			return err
		}
	}
	return nil
}

type frame struct {
	kind byte
	body []byte
}

type child struct {
	*conn
	frames  chan frame
	asking  sync.Mutex
	memos   memos
	ahead   []byte // answers that came with the next request
	proxies []*proxy
	input   int // bytes read in this render; guarded by asking
}

// count notes what a render reads; the caller holds asking.
func (c *child) count(n int) {
	if c.input <= largeInput && c.input+n > largeInput {
		debug.SetGCPercent(strictGC)
	}
	c.input += n
}

// recount begins a render.
func (c *child) recount() {
	c.asking.Lock()
	defer c.asking.Unlock()
	if c.input > largeInput {
		debug.SetGCPercent(relaxedGC)
	}
	c.input = 0
}

// listen reads frames in the background; when the parent has gone the process
// ends, whatever it is doing.
func (c *child) listen() {
	for {
		kind, body, err := c.receive(maxAnswer)
		if err != nil {
			os.Exit(0)
		}
		c.frames <- frame{kind, body}
	}
}

// ask puts one question to the parent.
func (c *child) ask(question *parts) (*parts, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	if err := c.send(frameQuestion, question.b); err != nil {
		return nil, err
	}
	f := <-c.frames
	if f.kind != frameAnswer {
		return nil, errFrame
	}
	c.count(len(f.body))
	return opened(f.body)
}

func (c *child) serve(ctx context.Context, body []byte) error {
	var h header
	if err := json.Unmarshal(body, &h); err != nil {
		return err
	}
	if len(h.Trees) != 1+len(h.Refs) {
		return errFrame
	}
	c.proxies = nil
	c.recount()
	r := render.Request{
		App: h.App, Source: h.Source, Revision: h.Revision, KubeVersion: h.KubeVersion, APIVersions: h.APIVersions,
		Settings: h.Settings, Disposable: true, Tree: c.tree(0, h.Trees[0]), Refs: map[string]tree.Tree{},
	}
	for i, name := range h.Refs {
		r.Refs[name] = c.tree(uint64(i+1), h.Trees[i+1])
	}
	if c.ahead != nil {
		c.proxies[0].memo.fill(c.ahead)
		c.ahead = nil
	}
	if h.Remote {
		r.Remote = (*remote)(c)
	}
	result, err := render.Render(ctx, r)
	o := outcome{Type: result.Type, Used: result.Used, Spent: result.Spent}
	for _, p := range c.proxies {
		o.Reused = append(o.Reused, p.reused...)
	}
	var objects []byte
	if err == nil {
		objects, err = Encode(result.Objects)
	}
	if err != nil {
		o.Message = err.Error()
	}
	head, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := c.send(frameOutcome, head); err != nil || o.Message != "" {
		return err
	}
	if err := c.send(frameObjects, objects); err != nil {
		return err
	}
	if len(objects) > 1<<20 {
		debug.FreeOSMemory() // what a large render took is given back at once
	}
	return nil
}

// Encode writes objects as a JSON list, as Decode reads them.
func Encode(objects []*unstructured.Unstructured) ([]byte, error) {
	all := make([]map[string]any, len(objects))
	for i, o := range objects {
		all[i] = o.Object
	}
	return json.Marshal(all)
}

// remote asks the parent for what lies outside the tree.
type remote child

var _ render.Remote = (*remote)(nil)

func (r *remote) ask(op byte, texts ...string) (*parts, error) {
	q := &parts{}
	q.byte(op)
	for _, t := range texts {
		q.text(t)
	}
	if len(q.b) > maxQuestion {
		return nil, errors.New("the name is too long")
	}
	return (*child)(r).ask(q)
}

func (r *remote) tree(op byte, texts ...string) (tree.Tree, error) {
	a, err := r.ask(op, texts...)
	if err != nil {
		return nil, err
	}
	number, name := a.readNumber(), treeName{a.readText(), a.readText()}
	return (*child)(r).tree(number, name), nil
}

func (r *remote) Chart(_ context.Context, c render.ChartRef) (tree.Tree, error) {
	return r.tree(opChart, c.Repository, c.Name, c.Versions)
}

func (r *remote) Base(_ context.Context, url, revision string) (tree.Tree, error) {
	return r.tree(opBase, url, revision)
}

func (r *remote) File(_ context.Context, url string) ([]byte, error) {
	a, err := r.ask(opFile, url)
	if err != nil {
		return nil, err
	}
	return a.readContent(), nil
}
