package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"strings"
)

// Archives are tar archives, gzipped, that must not be unpacked as they are:
// CVE-2019-18658, CVE-2023-40584, CVE-2024-25620, CVE-2025-32386,
// CVE-2026-50162 and the requirement SEC-14. The file is outside every tree.
func Archives(file string) map[string][]byte {
	link := func(kind byte, name, target string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: 0o777}
	}
	out := map[string][]byte{
		"not gzip": []byte("PK\x03\x04 a zip"), "empty": {}, "cut": pack(&tar.Header{Name: "c/Chart.yaml"})[:20], "gzip of nothing": pack(), "raw tar": raw(&tar.Header{Name: "c/Chart.yaml"}),
		"link out":          pack(link(tar.TypeSymlink, "c/values.yaml", file)),
		"link up":           pack(link(tar.TypeSymlink, "c/values.yaml", strings.Repeat("../", 40)+file[1:])),
		"through a link":    pack(link(tar.TypeSymlink, "c/x", file[:strings.LastIndexByte(file, '/')]), &tar.Header{Name: "c/x/written"}),
		"over a link":       pack(link(tar.TypeSymlink, "c/x", file), &tar.Header{Name: "c/x"}),
		"hard link":         pack(link(tar.TypeLink, "c/values.yaml", file)),
		"loop":              pack(link(tar.TypeSymlink, "c/a", "b"), link(tar.TypeSymlink, "c/b", "a")),
		"device":            pack(link(tar.TypeChar, "c/dev", ""), link(tar.TypeBlock, "c/blk", "")),
		"pipe":              pack(link(tar.TypeFifo, "c/pipe", "")),
		"root":              pack(&tar.Header{Name: "/"}),
		"same name twice":   pack(&tar.Header{Name: "c/a"}, &tar.Header{Name: "c/a"}),
		"file and folder":   pack(&tar.Header{Name: "c/a"}, &tar.Header{Name: "c/a/b"}),
		"negative size":     pack(&tar.Header{Name: "c/a", Size: -1}),
		"sparse":            pack(&tar.Header{Name: "c/a", PAXRecords: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1099511627776"}}),
		"claimed size":      pack(&tar.Header{Name: "c/a", PAXRecords: map[string]string{"size": "1099511627776"}}),
		"long records":      pack(&tar.Header{Name: "c/" + strings.Repeat("a", 200_000)}),
		"many small ones":   many(30_000),
		"one that expands":  bomb(80 << 20),
		"dot segments":      pack(&tar.Header{Name: "./././c/./a"}, &tar.Header{Name: "c/../c/a"}),
		"only dots":         pack(&tar.Header{Name: "."}, &tar.Header{Name: ".."}, &tar.Header{Name: "..."}),
		"trailing garbage":  append(pack(&tar.Header{Name: "c/a"}), bytes.Repeat([]byte{0x1f, 0x8b}, 100)...),
		"two gzip in a row": append(pack(&tar.Header{Name: "c/a"}), pack(&tar.Header{Name: "../b"})...),
	}
	for _, name := range Paths(file) {
		out["path "+name] = pack(&tar.Header{Name: name}, &tar.Header{Name: "c/" + name})
		out["link "+name] = pack(link(tar.TypeSymlink, "c/l", name), link(tar.TypeLink, "c/h", name), &tar.Header{Name: "c/l/x"})
	}
	return out
}

// pack writes what can be written of the headers; files have one byte.
func pack(headers ...*tar.Header) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(raw(headers...)) // into memory
	_ = z.Close()
	return out.Bytes()
}

func raw(headers ...*tar.Header) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		if h.Typeflag == 0 && h.Size == 0 && !strings.HasSuffix(h.Name, "/") {
			h.Typeflag, h.Size = tar.TypeReg, 1
		}
		if w.WriteHeader(h) == nil && h.Size > 0 {
			_, _ = w.Write([]byte("x"))
		}
	}
	_ = w.Close()
	return out.Bytes()
}

func many(n int) []byte {
	var headers []*tar.Header
	for range n {
		headers = append(headers, &tar.Header{Name: "c/a"})
	}
	return pack(headers...)
}

// bomb is an archive of a file of zeros.
func bomb(size int64) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	if w.WriteHeader(&tar.Header{Name: "c/zeros", Typeflag: tar.TypeReg, Size: size}) == nil {
		block := make([]byte, 1<<20)
		for left := size; left > 0; left -= int64(len(block)) {
			_, _ = w.Write(block) // into memory
		}
	}
	_ = w.Close()
	_ = z.Close()
	return out.Bytes()
}
