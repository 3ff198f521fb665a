package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// A request with uploaded files is the length of a generateRequest in four
// bytes, the generateRequest, and the archive.

var errLocal = errors.New("the uploaded files have no archive: they are rendered by the process that has them")

// upload asks for a rendering of uploaded files.
func (c *Client) upload(ctx context.Context, q generateRequest, files tree.Tree) (generateAnswer, error) {
	packed, ok := files.(*tree.Packed)
	if !ok {
		return generateAnswer{}, errLocal
	}
	head, err := json.Marshal(q)
	if err != nil {
		return generateAnswer{}, fmt.Errorf("repo-server: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	body := io.MultiReader(bytes.NewReader(binary.BigEndian.AppendUint32(nil, uint32(len(head)))), bytes.NewReader(head), bytes.NewReader(packed.Archive)) //nolint:gosec // a request is smaller than 4 GiB
	response, err := c.send(ctx, pathUpload, body)                                                                                                         //nolint:bodyclose // answerOf closes it
	if err != nil {
		return generateAnswer{}, err
	}
	return answerOf[generateAnswer](c, response)
}

// uploaded renders uploaded files.
func (h *Handler) uploaded(w http.ResponseWriter, r *http.Request) {
	if !known(w, r) {
		return
	}
	q, archive, err := takeApart(http.MaxBytesReader(w, r.Body, maxRequest+manifest.UploadLimits().Packed+4))
	if err != nil {
		reply(w, http.StatusBadRequest, &failure{Message: err.Error()})
		return
	}
	answer, err := guarded(r.Context(), q, func(ctx context.Context, q generateRequest) (generateAnswer, error) {
		files, err := tree.Unpack(archive, manifest.UploadLimits())
		if err != nil {
			return generateAnswer{}, err
		}
		q.Query.Local = files
		return h.generate(ctx, q)
	})
	if err != nil {
		reply(w, http.StatusUnprocessableEntity, asFailure(err))
		return
	}
	reply(w, http.StatusOK, answer)
}

// takeApart reads a request with uploaded files.
func takeApart(body io.Reader) (q generateRequest, archive []byte, err error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(body, length); err != nil {
		return q, nil, errors.New("the request broke off")
	}
	n := binary.BigEndian.Uint32(length)
	if n > maxRequest {
		return q, nil, errors.New("the request is too large")
	}
	head, err := io.ReadAll(io.LimitReader(body, int64(n)))
	if err != nil {
		return q, nil, errors.New("the request broke off")
	}
	d := json.NewDecoder(bytes.NewReader(head))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, nil, errors.New("the request is not understood: are both components of the same version?")
	}
	if archive, err = io.ReadAll(body); err != nil {
		return q, nil, errors.New("the archive broke off, or is too large")
	}
	return q, archive, nil
}
