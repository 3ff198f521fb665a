package rest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/internal/server/fault"
)

// problem is the body of an error (spec/api.md §1, errors).
type problem struct {
	Error   string `json:"error"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// fail answers with an error.
func (a *api) fail(w http.ResponseWriter, err error) {
	code, message := fault.Of(err)
	if code == fault.Unauthenticated {
		w.Header().Set("WWW-Authenticate", line(message))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code.HTTP())
	_ = json.NewEncoder(w).Encode(problem{Error: message, Code: int(code), Message: message}) // the client may be gone
}

// line makes a text fit for a header.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f {
			return ' '
		}
		return r
	}, text)
}

func encode(answer any, fields *selection) ([]byte, error) {
	if fields != nil {
		return fields.encode(answer)
	}
	return json.Marshal(answer)
}

// Sizes and times of answers.
const (
	// compressFrom is the size in bytes from which an answer is compressed.
	compressFrom = 1 << 10
	// writeTimeout is how long a client may take for one answer or message.
	writeTimeout = time.Minute
)

// respond sends an answer, not at all when the client has it already.
func (a *api) respond(w http.ResponseWriter, r *http.Request, raw []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "private, no-cache")
	h.Add("Vary", "Accept-Encoding, Authorization, Cookie")
	if r.Method == http.MethodGet {
		sum := sha256.Sum256(raw)
		tag := `W/"` + hex.EncodeToString(sum[:12]) + `"`
		h.Set("ETag", tag)
		if match(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	a.extend(w)
	if !a.Gzip || len(raw) < compressFrom || !acceptsGzip(r) {
		_, _ = w.Write(raw) // the client may be gone
		return
	}
	h.Set("Content-Encoding", "gzip")
	z, ok := zippers.Get().(*gzip.Writer)
	if !ok {
		return
	}
	defer zippers.Put(z)
	var packed bytes.Buffer
	z.Reset(&packed)
	_, _ = z.Write(raw) // memory takes everything
	_ = z.Close()
	_, _ = w.Write(packed.Bytes()) // the client may be gone
}

// extend gives the client time for what is written next.
func (a *api) extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(a.Clock.Now().Add(writeTimeout)) // not every writer has deadlines
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a good one
	return z
}}

func match(header, tag string) bool {
	for _, one := range strings.Split(header, ",") {
		if one = strings.TrimSpace(one); one == tag || one == strings.TrimPrefix(tag, "W/") || one == "*" {
			return true
		}
	}
	return false
}

func acceptsGzip(r *http.Request) bool {
	for _, one := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(one), ";")
		if name == "gzip" && !strings.HasPrefix(strings.ReplaceAll(quality, " ", ""), "q=0") {
			return true
		}
	}
	return false
}
