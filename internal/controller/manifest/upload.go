package manifest

import "github.com/sluice-cd/sluice/internal/domain/tree"

// UploadLimits bound archives of uploaded files: they are held in memory, packed
// by the server and unpacked where they are rendered.
func UploadLimits() tree.Limits {
	return tree.Limits{Packed: 32 << 20, Expanded: 256 << 20, File: 32 << 20, Entries: 20_000}
}
