package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Lines is a body of many JSON messages, one a line: what gRPC calls a stream
// of the client. A handler reads them as they come, after it has asked what the
// first one needs.
type Lines[T any] struct {
	// Messages are what a client sends.
	Messages []T

	from *json.Decoder
	read *io.LimitedReader
}

// Open lets messages be read from a body of at most max bytes.
func (l *Lines[T]) Open(body io.Reader, max int64) {
	l.read = &io.LimitedReader{R: body, N: max + 1}
	l.from = json.NewDecoder(l.read)
}

// Next is the next message; io.EOF is the end.
func (l *Lines[T]) Next() (*T, error) {
	if l.from == nil {
		return nil, io.EOF
	}
	message := new(T)
	err := l.from.Decode(message)
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return message, nil
	case l.read.N <= 0:
		return nil, fault.New(fault.InvalidArgument, "the body of the request is too large")
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.As(err, &kind), errors.As(err, &syntax):
		return nil, fault.Hide(err, fault.InvalidArgument, "the body of the request is not one JSON message of this type a line")
	}
	return nil, fault.Hide(err, fault.InvalidArgument, "the body of the request broke off")
}

// Encode writes the messages as a body.
func (l *Lines[T]) Encode() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for i := range l.Messages {
		if err := e.Encode(&l.Messages[i]); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	return out.Bytes(), nil
}

// Message is the type of one message.
func (*Lines[T]) Message() reflect.Type { return reflect.TypeFor[T]() }

// LinesBody is a body of Lines whatever its type.
type LinesBody interface {
	Open(body io.Reader, max int64)
	Encode() ([]byte, error)
	Message() reflect.Type
}
