package render

import (
	"bufio"
	"bytes"
)

func newBufReader(content []byte) *bufio.Reader {
	return bufio.NewReaderSize(bytes.NewReader(content), 64<<10)
}
