package apiserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"

	"sigs.k8s.io/yaml"
)

// upload reads what comes one message a line (spec/wire.md): a query, then
// chunks of an archive. It "renders" every YAML document below the root that has
// a kind, and remembers as the body of the request what was sent.
func (s *Server) upload(r *http.Request, _ object) (any, error) {
	key := r.Method + " " + r.URL.Path
	messages := json.NewDecoder(bytes.NewReader(s.bodies[key]))
	var query object
	var archive []byte
	for {
		var m struct {
			Query object `json:"query"`
			Chunk *struct {
				Chunk []byte `json:"chunk"`
			} `json:"chunk"`
		}
		err := messages.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			return nil, failure{400, 3, "no message a line"}
		case m.Query != nil && query == nil:
			query = m.Query
		case m.Chunk != nil && query != nil:
			archive = append(archive, m.Chunk.Chunk...)
		default:
			return nil, failure{400, 3, "first a query, then chunks"}
		}
	}
	if sum := sha256.Sum256(archive); query["checksum"] != hex.EncodeToString(sum[:]) {
		return nil, failure{400, 3, "checksum"}
	}
	if n, _ := query["name"].(string); find(s.state.Applications, n) == nil {
		return nil, denied
	}
	names, manifests, err := unpacked(archive)
	if err != nil {
		return nil, failure{400, 3, err.Error()}
	}
	slices.Sort(names)
	if s.bodies[key], err = json.Marshal(object{"name": query["name"], "files": names}); err != nil {
		return nil, err
	}
	return object{"manifests": manifests}, nil
}

func unpacked(archive []byte) (names []string, manifests []any, err error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return names, manifests, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if h.Typeflag == tar.TypeSymlink {
			names = append(names, h.Name+" -> "+h.Linkname)
			continue
		}
		names = append(names, h.Name)
		raw, err := io.ReadAll(t)
		if err != nil {
			return nil, nil, err
		}
		var o object
		if yaml.Unmarshal(raw, &o) != nil || o["kind"] == nil || o["metadata"] == nil {
			continue
		}
		text, err := json.Marshal(o)
		if err != nil {
			return nil, nil, err
		}
		manifests = append(manifests, string(text))
	}
}
