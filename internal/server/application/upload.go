package application

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// FilesQuery is the first message of an upload: the Application that files are
// rendered for, and the SHA-256 of the archive in hexadecimal.
type FilesQuery struct {
	Name         string `json:"name"`
	Checksum     string `json:"checksum"`
	AppNamespace string `json:"appNamespace,omitempty"`
	Project      string `json:"project,omitempty"`
}

// FileChunk is a piece of the archive, a tar that may be gzipped.
type FileChunk struct {
	Chunk []byte `json:"chunk"`
}

// FilesMessage is one message of an upload: first a query, then chunks
// (spec/wire.md, ApplicationManifestQueryWithFilesWrapper).
type FilesMessage struct {
	Query *FilesQuery `json:"query,omitempty"`
	Chunk *FileChunk  `json:"chunk,omitempty"`
}

// FilesRequest is an upload.
type FilesRequest struct {
	Messages route.Lines[FilesMessage] `json:"-" body:"*"`
}

// maxUploads are the uploads that are held at a time.
const maxUploads = 2

// GetManifestsWithFiles renders files of the caller in place of the first
// source of an Application; paths of the source count from the root of the
// archive. Nothing of it is kept.
func (s *Service) GetManifestsWithFiles(ctx context.Context, c *route.Call, q *FilesRequest) (*ManifestResponse, error) {
	first, err := q.Messages.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if first == nil || first.Query == nil {
		first = &FilesMessage{Query: &FilesQuery{}} // refused as every Application that is none
	}
	target := Target{Name: first.Query.Name, AppNamespace: first.Query.AppNamespace, Project: first.Query.Project}
	app, err := s.find(c, target, "get")
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(app)
	if err != nil {
		return nil, err
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		return nil, fault.New(fault.ResourceExhausted, "other uploads are being rendered: ask again in a moment")
	}
	archive, err := archiveOf(q, strings.ToLower(first.Query.Checksum))
	if err != nil {
		return nil, err
	}
	files, err := tree.Unpack(archive, manifest.UploadLimits())
	if err != nil {
		return nil, fault.New(fault.InvalidArgument, "the uploaded files: %w", err)
	}
	return s.generate(ctx, rendering{app: app, project: project, sources: app.Spec.GetSources(), files: files})
}

// archiveOf puts the chunks together and compares their sum.
func archiveOf(q *FilesRequest, checksum string) ([]byte, error) {
	limit, sum := manifest.UploadLimits().Packed, sha256.New()
	var archive []byte
	for {
		m, err := q.Messages.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if m.Chunk == nil || m.Query != nil {
			return nil, fault.New(fault.InvalidArgument, "after the query the messages of an upload hold chunks")
		}
		if int64(len(archive)+len(m.Chunk.Chunk)) > limit {
			return nil, fault.New(fault.InvalidArgument, "the uploaded files take more than %d bytes, packed: leave out what is not rendered", limit)
		}
		archive = append(archive, m.Chunk.Chunk...)
		_, _ = sum.Write(m.Chunk.Chunk)
	}
	if hex.EncodeToString(sum.Sum(nil)) != checksum {
		return nil, fault.New(fault.InvalidArgument, "file checksum validation error: checksum is not the SHA-256 of the chunks")
	}
	return archive, nil
}
