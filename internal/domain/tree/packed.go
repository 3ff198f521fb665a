package tree

import "bytes"

// Packed is a tree with the archive that it was unpacked from, so that another
// process can be given it.
type Packed struct {
	Tree
	Archive []byte
}

// Unpack reads an archive that is held in memory; see Untar.
func Unpack(archive []byte, limits Limits) (*Packed, error) {
	b, err := Untar(bytes.NewReader(archive), 0, limits)
	if err != nil {
		return nil, err
	}
	return &Packed{b.Build(""), archive}, nil
}
