package worker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Kinds of frames.
const (
	frameRequest  = 'R' // parent: header as JSON
	frameQuestion = 'Q' // child
	frameAnswer   = 'A' // parent
	frameAhead    = 'P' // parent, before a request: answers to what will be asked
	frameOutcome  = 'O' // child: outcome as JSON
	frameObjects  = 'M' // child: objects as JSON, after an outcome without message
	frameReady    = 'H' // child: it has closed itself off
)

// Questions of a child.
const (
	opLook  = 'l' // tree, path: entry and place
	opRead  = 'r' // as opLook, with the content of a file
	opList  = 'd' // tree, path, question of render.List
	opChart = 'c' // repository, name, versions: another tree
	opBase  = 'b' // url, revision: another tree
	opFile  = 'f' // url: content
)

// Status of an answer.
const (
	answerOK = iota
	answerAbsent
	answerError
)

// Limits of frames: what a child may ask, and what it may return.
const (
	maxQuestion = 64 << 10
	maxAnswer   = 256 << 20
)

var errFrame = errors.New("the renderer sent what was not expected")

// header is a request without its trees.
type header struct {
	App         render.App                 `json:"app"`
	Source      v1alpha1.ApplicationSource `json:"source"`
	Revision    string                     `json:"revision"`
	KubeVersion string                     `json:"kubeVersion"`
	APIVersions []string                   `json:"apiVersions"`
	Settings    render.Settings            `json:"settings"`
	// Trees are the trees: the first is the source, the others are those of
	// Refs in order.
	Trees  []treeName `json:"trees"`
	Refs   []string   `json:"refs"`
	Remote bool       `json:"remote"`
}

// treeName is a revision with the id of its root folder: what was read from a
// tree holds for every other with the same root.
type treeName struct {
	Revision string `json:"revision"`
	Root     string `json:"root"`
}

// reused is a question that the child has answered from what it knew, which
// the parent asks for itself to record it.
type reused struct {
	Op       string `json:"o"`
	Tree     uint64 `json:"t"`
	Path     string `json:"p"`
	Question string `json:"q,omitempty"`
}

// outcome is a result without its objects.
type outcome struct {
	Type    string        `json:"type"`
	Used    render.Inputs `json:"used"`
	Spent   bool          `json:"spent"`
	Message string        `json:"message,omitempty"`
	Reused  []reused      `json:"reused,omitempty"`
}

// conn sends and receives frames.
type conn struct {
	in  *bufio.Reader
	out *bufio.Writer
}

func newConn(in io.Reader, out io.Writer) *conn {
	return &conn{bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)}
}

func (c *conn) send(kind byte, body []byte) error {
	var head [5]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(body))) //nolint:gosec // bodies are bounded below
	if len(body) > maxAnswer {
		return fmt.Errorf("a message of %d bytes is too large, at most %d are allowed", len(body), maxAnswer)
	}
	_, _ = c.out.Write(head[:]) // Flush tells
	_, _ = c.out.Write(body)
	return c.out.Flush()
}

func (c *conn) receive(limit int) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if int64(n) > int64(limit) {
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", errFrame, n, limit)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return 0, nil, err
	}
	return head[0], body, nil
}

// parts writes and reads the fields of questions and answers.
type parts struct {
	b   []byte
	bad bool
}

func (p *parts) byte(v byte)      { p.b = append(p.b, v) }
func (p *parts) number(v uint64)  { p.b = binary.AppendUvarint(p.b, v) }
func (p *parts) text(s string)    { p.number(uint64(len(s))); p.b = append(p.b, s...) }
func (p *parts) content(c []byte) { p.number(uint64(len(c))); p.b = append(p.b, c...) }
func (p *parts) entry(e tree.Entry) {
	p.text(e.Name)
	p.byte(byte(e.Kind))
	p.text(e.ID)
	p.number(uint64(max(e.Size, 0)))
}

func (p *parts) readByte() byte {
	if len(p.b) == 0 {
		p.bad = true
		return 0
	}
	v := p.b[0]
	p.b = p.b[1:]
	return v
}

func (p *parts) readNumber() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parts) readContent() []byte {
	n := p.readNumber()
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return nil
	}
	v := p.b[:n]
	p.b = p.b[n:]
	return v
}

func (p *parts) readText() string { return string(p.readContent()) }

func (p *parts) readEntry() tree.Entry {
	return tree.Entry{Name: p.readText(), Kind: tree.Kind(p.readByte()), ID: p.readText(), Size: int64(p.readNumber())} //nolint:gosec // written from an int64
}

// remoteError is an error of the other side; what was absent there is here.
type remoteError struct {
	text   string
	absent bool
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Is(target error) bool { return e.absent && target == tree.ErrNotExist }

// failed writes an error as an answer.
func failed(err error) []byte {
	p := &parts{}
	if errors.Is(err, tree.ErrNotExist) {
		p.byte(answerAbsent)
	} else {
		p.byte(answerError)
	}
	p.text(err.Error())
	return p.b
}

// opened reads the status of an answer.
func opened(body []byte) (*parts, error) {
	p := &parts{b: body}
	switch status := p.readByte(); status {
	case answerOK:
		return p, nil
	case answerAbsent, answerError:
		return nil, &remoteError{p.readText(), status == answerAbsent}
	}
	return nil, errFrame
}
