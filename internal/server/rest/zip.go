package rest

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"sync"
)

// unzipped is what a gzip stream must know of what it has carried (RFC 1952).
// Its messages are blocks that do not refer to one another: a block is made once
// for all who get the message, and a stream that waits keeps no window, which
// would be more than a megabyte for every client.
type unzipped struct {
	begun     bool
	sum, size uint32
}

// gzipHeader says deflate, no name, no time, an unknown system.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// lastBlock is an empty block that ends deflated data.
var lastBlock = []byte{1, 0, 0, 0xff, 0xff}

// header gives what stands before the first block, once.
func (u *unzipped) header() []byte {
	if u.begun {
		return nil
	}
	u.begun = true
	return gzipHeader
}

// carried notes a message that was sent as a block.
func (u *unzipped) carried(raw []byte) {
	u.sum = crc32.Update(u.sum, crc32.IEEETable, raw)
	u.size += uint32(len(raw)) //nolint:gosec // the format counts modulo 2^32
}

// trailer ends the stream.
func (u *unzipped) trailer() []byte {
	out := append(bytes.Clone(u.header()), lastBlock...)
	out = binary.LittleEndian.AppendUint32(out, u.sum)
	return binary.LittleEndian.AppendUint32(out, u.size)
}

var deflaters = sync.Pool{New: func() any {
	z, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is a good one
	return z
}}

// block deflates a message so that it can stand anywhere in a stream.
func block(raw []byte) []byte {
	z, ok := deflaters.Get().(*flate.Writer)
	if !ok {
		return nil
	}
	defer deflaters.Put(z)
	var out bytes.Buffer
	z.Reset(&out)
	_, _ = z.Write(raw) // memory takes everything
	_ = z.Flush()
	return out.Bytes()
}
