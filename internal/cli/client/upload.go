package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// lines is a body of many messages, one a line.
type lines []any

// encoded is a body as JSON.
func encoded(body any) ([]byte, error) {
	many, ok := body.(lines)
	if !ok {
		return json.Marshal(body)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for _, one := range many {
		if err := e.Encode(one); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// uploadChunk is the size of the pieces in which an archive is sent, in bytes.
const uploadChunk = 256 << 10

// ManifestsOf renders an archive, a tar that may be gzipped, in place of the
// source of an Application; paths of the source count from its root. Objects are
// JSON; values of Secrets are masked.
func (c *Client) ManifestsOf(ctx context.Context, a App, archive []byte) ([]string, error) {
	type query struct {
		Name         string `json:"name"`
		Checksum     string `json:"checksum"`
		AppNamespace string `json:"appNamespace,omitempty"`
	}
	type chunk struct {
		Chunk []byte `json:"chunk"`
	}
	sum := sha256.Sum256(archive)
	body := lines{map[string]query{"query": {a.Name, hex.EncodeToString(sum[:]), a.Namespace}}}
	for len(archive) > 0 {
		n := min(len(archive), uploadChunk)
		body = append(body, map[string]chunk{"chunk": {archive[:n]}})
		archive = archive[n:]
	}
	var out struct {
		Manifests []string `json:"manifests"`
	}
	err := c.do(ctx, call{method: "POST", path: appsPath + "/manifestsWithFiles", body: body}, &out)
	return out.Manifests, err
}
