package rest

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// TestBlocksStandAnywhere puts the same block into streams at different places.
func TestBlocksStandAnywhere(t *testing.T) {
	t.Parallel()
	messages := map[string][]byte{"a": []byte(strings.Repeat("first ", 500)), "b": []byte("second"), "": nil}
	blocks := map[string][]byte{}
	for name, raw := range messages {
		blocks[name] = block(raw)
	}
	for _, order := range [][]string{{}, {"a"}, {"b", "a", "a", "", "b"}, {"a", "b"}} {
		var z unzipped
		var sent bytes.Buffer
		var want []byte
		for _, name := range order {
			z.carried(messages[name])
			sent.Write(z.header())
			sent.Write(blocks[name])
			want = append(want, messages[name]...)
		}
		sent.Write(z.trailer())
		r, err := gzip.NewReader(&sent)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, want %d, %v", order, len(got), len(want), err)
		}
	}
	if n := len(blocks["a"]); n > 200 {
		t.Errorf("3000 bytes that repeat become %d", n)
	}
}
