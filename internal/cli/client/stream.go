package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

const (
	// silence is how long a stream may say nothing: the server sends a comment
	// every 15 seconds.
	silence = 90 * time.Second
	// reopen is the pause before a broken watch is opened again.
	reopen = time.Second
	// maxMessage bounds one message of a stream in bytes.
	maxMessage = 64 << 20
)

// errEnough ends a stream without an error.
var errEnough = errors.New("enough")

// pour opens a stream and hands its messages to each until it ends; an end
// that nobody asked for is io.ErrUnexpectedEOF.
func (c *Client) pour(ctx context.Context, k call, each func(json.RawMessage) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20)) // the status says enough
		return refusal(answer.StatusCode, raw)
	}
	dog := c.o.Clock.AfterFunc(silence, func() {
		cancel(fmt.Errorf("%s has sent nothing for %s", c.base.Host, silence))
	})
	defer dog.Stop()
	events := strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream")
	err = messages(&watched{answer.Body, dog}, events, each)
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(err, errEnough) {
		return cause
	}
	return err
}

// watched calms the dog whenever something arrives.
type watched struct {
	io.Reader
	dog clock.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.dog.Reset(silence)
	}
	return n, err
}

// messages reads lines of JSON or server-sent events.
func messages(r io.Reader, events bool, each func(json.RawMessage) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(lines)
		if text := bytes.TrimSpace(line); len(text) > 0 && (!events || bytes.HasPrefix(text, []byte("data:"))) {
			if events {
				text = bytes.TrimSpace(text[len("data:"):])
			}
			if err := message(text, each); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var out []byte
	for {
		part, err := r.ReadSlice('\n')
		out = append(out, part...)
		if len(out) > maxMessage {
			return nil, fmt.Errorf("a message of the stream has more than %d MiB", maxMessage>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return out, err
		}
	}
}

func message(text []byte, each func(json.RawMessage) error) error {
	var m struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    Code   `json:"grpc_code"`
			Status  int    `json:"http_code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("the stream holds something that is no message: %w", err)
	}
	if m.Error != nil {
		return &Error{Code: m.Error.Code, Message: m.Error.Message, Status: m.Error.Status}
	}
	return each(m.Result)
}

// lasting says that opening the stream again gives the same error.
func lasting(err error) bool {
	switch CodeOf(err) {
	case Unauthenticated, PermissionDenied, NotFound, InvalidArgument, Unimplemented, FailedPrecondition:
		return true
	}
	return false
}

// watch keeps a stream open until ctx ends, each says that it is enough
// (errEnough) or fails, or the server refuses for good (spec/cli.md §1.4).
func watch[T any](ctx context.Context, c *Client, k call, each func(*T) error) error {
	for {
		failed := false
		err := c.pour(ctx, k, func(raw json.RawMessage) error {
			var m T
			if err := json.Unmarshal(raw, &m); err != nil {
				return fmt.Errorf("message of the stream: %w", err)
			}
			err := each(&m)
			failed = err != nil
			return err
		})
		switch {
		case errors.Is(err, errEnough):
			return nil
		case failed, lasting(err):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if err := wait(ctx, c.o.Clock, reopen); err != nil {
			return context.Cause(ctx)
		}
	}
}

// Enough is what the function of a watch returns to end it without an error.
func Enough() error { return errEnough }
