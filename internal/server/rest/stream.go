package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Keyed is a message about one object: a message that equals the last one about
// the same object, after the selection of fields, is not sent again. Messages
// that are shared between streams are encoded once.
type Keyed interface {
	// StreamKey names the object; "" is none.
	StreamKey() string
	// Shared gives an encoding by its name, which tells the selection of
	// fields, made at most once.
	Shared(name string, encode func() ([]byte, error)) ([]byte, error)
}

// Text is a message that is sent as it is when the client downloads
// (parameter download=true of logs).
type Text interface{ Text() []byte }

// Attachment is a request whose stream may be downloaded as a file.
type Attachment interface {
	// Filename is "" when the stream is not to be a file.
	Filename() string
}

// openStreams counts and ends streams.
type openStreams struct {
	mu    sync.Mutex
	count map[string]int
}

func newOpenStreams() *openStreams { return &openStreams{count: map[string]int{}} }

// maxStreams is how many streams one client (by account, else address) may hold.
const maxStreams = 1000

func (o *openStreams) take(client string) (release func(), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count[client] >= maxStreams {
		return nil, false
	}
	o.count[client]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.count[client]--; o.count[client] == 0 {
			delete(o.count, client)
		}
	}, true
}

// sender writes messages to one client.
type sender struct {
	a        *api
	w        http.ResponseWriter
	zip      *unzipped // nil is no compression
	events   bool      // server-sent events, not lines
	file     string
	fields   string
	selected *selection
	seed     maphash.Seed
	// last are checksums of what was sent, by checksum of the key: a client may
	// watch many thousand objects.
	last  map[uint64]uint64
	begun bool

	mu sync.Mutex
}

func (a *api) streamed(w http.ResponseWriter, r *http.Request, call *route.Call, request any) {
	client := call.Who.Subject
	if client == "" {
		client = call.Client
	}
	release, ok := a.open.take(client)
	if !ok {
		a.fail(w, fault.New(fault.ResourceExhausted, "more than %d streams are open: close some", maxStreams))
		return
	}
	defer release()
	s := &sender{a: a, w: w, events: strings.Contains(r.Header.Get("Accept"), "text/event-stream"), seed: maphash.MakeSeed(), last: map[uint64]uint64{}}
	s.rest()
	if f, ok := request.(Attachment); ok {
		s.file = f.Filename()
	}
	if call.Route.Fields {
		var err error
		s.fields = r.URL.Query().Get("fields")
		if s.selected, err = parseFields(s.fields); err != nil {
			a.fail(w, err)
			return
		}
	}
	if a.Gzip && !s.events && s.file == "" && acceptsGzip(r) {
		s.zip = &unzipped{}
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(a.Ending, func() { cancel(nil) })()
	defer a.recheck(ctx, cancel, r, call)()
	if s.events {
		stop := s.keepAlive(ctx)
		defer stop()
	}
	done := a.metrics.start(call.Route, a.Clock)
	err := a.run.Pour(ctx, call, request, func(m any) error {
		if m != nil {
			a.metrics.sent(call.Route)
		}
		return s.send(m)
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	code, _ := fault.Of(err)
	done(code)
	s.end(ctx, err)
}

// recheckEvery is how soon a stream ends whose token or right was taken away.
const recheckEvery = 5 * time.Second

// recheck asks again and again for token and rights while a stream runs.
func (a *api) recheck(ctx context.Context, cancel context.CancelCauseFunc, r *http.Request, call *route.Call) (stop func()) {
	if call.Route.Rule.Access == route.Open {
		return func() {}
	}
	ticker := a.Clock.NewTicker(recheckEvery)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C():
			}
			who, err := a.Who.Authenticate(r)
			if err != nil {
				cancel(unauthenticated(err))
				return
			}
			if !call.Still(who) {
				cancel(route.Hidden())
				return
			}
		}
	}()
	return ticker.Stop
}

// keepAlive sends a comment while nothing else is sent; it also opens the
// stream, so that a client knows that it is listening.
func (s *sender) keepAlive(ctx context.Context) (stop func()) {
	ticker := s.a.Clock.NewTicker(s.a.KeepAlive)
	inner, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-inner.Done():
				return
			case <-ticker.C():
				s.comment()
			}
		}
	}()
	return func() {
		cancel()
		ticker.Stop()
		<-ended
	}
}

func (s *sender) comment() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	_ = s.write([]byte(":\n\n")) // a client that is gone ends the stream itself
}

// begin sends the header; s.mu is held.
func (s *sender) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	switch {
	case s.events:
		h.Set("Content-Type", "text/event-stream")
	case s.file != "":
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment;filename="`+s.file+`"`)
	default:
		h.Set("Content-Type", "application/json")
	}
	if s.zip != nil {
		h.Set("Content-Encoding", "gzip")
	}
}

// write sends bytes at once; s.mu is held.
func (s *sender) write(raw []byte) error {
	if s.zip == nil {
		return s.flush(raw)
	}
	return s.pack(raw, block(raw))
}

// pack sends bytes that were compressed to a block.
func (s *sender) pack(raw, packed []byte) error {
	s.zip.carried(raw)
	return s.flush(s.zip.header(), packed)
}

// flush sends bytes as they are. Between messages a stream has no deadline:
// HTTP/2 would reset one that is silent for long.
func (s *sender) flush(parts ...[]byte) error {
	s.a.extend(s.w)
	defer s.rest()
	for _, part := range parts {
		if _, err := s.w.Write(part); err != nil {
			return err
		}
	}
	return http.NewResponseController(s.w).Flush()
}

// rest takes the deadline off until the next message.
func (s *sender) rest() {
	_ = http.NewResponseController(s.w).SetWriteDeadline(time.Time{}) // not every writer has deadlines
}

func (s *sender) send(m any) error {
	if m == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.begin()
		return http.NewResponseController(s.w).Flush()
	}
	if s.file != "" {
		text, ok := m.(Text)
		if !ok {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.begin()
		return s.write(text.Text())
	}
	raw, err := s.encode(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := m.(Keyed); ok && k.StreamKey() != "" {
		key, sum := maphash.String(s.seed, k.StreamKey()), maphash.Bytes(s.seed, raw)
		if s.last[key] == sum {
			return nil
		}
		s.last[key] = sum
	}
	s.begin()
	framed := s.frame(`{"result":`, raw, `}`)
	if s.zip == nil {
		return s.flush(framed)
	}
	packed, err := share(m, "gzip "+s.fields, func() ([]byte, error) { return block(framed), nil })
	if err != nil {
		return err
	}
	return s.pack(framed, packed)
}

func (s *sender) encode(m any) ([]byte, error) {
	return share(m, "plain "+s.fields, func() ([]byte, error) { return encode(m, s.selected) })
}

// share makes what is made of a message once for all who get it.
func share(m any, name string, make func() ([]byte, error)) ([]byte, error) {
	if k, ok := m.(Keyed); ok {
		return k.Shared(name, make)
	}
	return make()
}

func (s *sender) frame(before string, raw []byte, after string) []byte {
	var out bytes.Buffer
	out.Grow(len(raw) + 32)
	if s.events {
		out.WriteString("data: ")
	}
	out.WriteString(before)
	out.Write(raw)
	out.WriteString(after)
	out.WriteByte('\n')
	if s.events {
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// broken is the last message of a stream that failed (spec/api.md §1).
type broken struct {
	GRPCCode   int    `json:"grpc_code"`
	HTTPCode   int    `json:"http_code"`
	Message    string `json:"message"`
	HTTPStatus string `json:"http_status"`
}

// end finishes the stream: an error before the first message is an ordinary
// answer, a later one is the last message.
func (s *sender) end(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil // the client left, or the server stops
	}
	switch {
	case err != nil && !s.begun:
		s.a.fail(s.w, err)
		return
	case err != nil && s.file == "":
		code, message := fault.Of(err)
		raw, _ := json.Marshal(broken{GRPCCode: int(code), HTTPCode: code.HTTP(), Message: message, HTTPStatus: http.StatusText(code.HTTP())}) // plain values
		_ = s.write(s.frame(`{"error":`, raw, `}`))                                                                                            // the client may be gone
	}
	s.begin()
	if s.zip != nil {
		_ = s.flush(s.zip.trailer()) // the client may be gone
	}
}
