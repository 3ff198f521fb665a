package webhook

import (
	"errors"
	"io"
	"net/http"

	"golang.org/x/sync/semaphore"
)

// Errors of reading a body.
var (
	errTooLarge = errors.New("the payload is too large")
	errBusy     = errors.New("too many payloads are read at the same time")
)

const (
	// budget is how many bytes of bodies are in memory at a time.
	budget = 56 << 20
	// grain is the step in which memory for a body grows, in bytes.
	grain = 64 << 10
)

// reader reads bodies within the budget of all: whoever sends slowly holds only
// what he has sent.
type reader struct{ room *semaphore.Weighted }

func newReader() reader { return reader{semaphore.NewWeighted(budget)} }

// read gives a body of at most limit bytes, and a function that gives its memory
// back.
func (b reader) read(r *http.Request, limit int64) (body []byte, free func(), err error) {
	var held int64
	free = func() { b.room.Release(held) }
	fail := func(err error) ([]byte, func(), error) {
		free()
		return nil, func() {}, err
	}
	for {
		if len(body) == cap(body) {
			want := max(grain, min(2*int64(cap(body)), limit+1))
			if !b.room.TryAcquire(want - held) {
				return fail(errBusy)
			}
			grown := make([]byte, len(body), want)
			copy(grown, body)
			body, held = grown, want
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return fail(errTooLarge)
		case errors.Is(err, io.EOF):
			return body, free, nil
		case err != nil:
			return fail(err)
		}
	}
}
