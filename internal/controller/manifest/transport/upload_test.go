package transport_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

func archive(t *testing.T, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestUploadedFilesTravel: files of a user are rendered by the repo-server, and
// what could leave their folder is refused there, too.
func TestUploadedFilesTravel(t *testing.T) {
	w := start(t, nil)
	q := manifest.Query{App: render.App{Name: "a", Project: "default"}, Sources: []v1alpha1.ApplicationSource{w.source("plain")}}
	files, err := tree.Unpack(archive(t, "plain/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: uploaded}\n"), manifest.UploadLimits())
	if err != nil {
		t.Fatal(err)
	}
	q.Local = files
	m, err := w.remote.Generate(t.Context(), q, []string{files.Revision()})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Objects) != 1 || m.Objects[0].GetName() != "uploaded" {
		t.Errorf("rendered %v", m.Objects)
	}
	hostile := &tree.Packed{Tree: files, Archive: archive(t, "../c.yaml", "x")} // a server that checked nothing
	q.Local = hostile
	if _, err := w.remote.Generate(t.Context(), q, []string{"x"}); err == nil || !strings.Contains(err.Error(), "archive") {
		t.Errorf("a path that leaves the archive: %v", err)
	}
	q.Local = &tree.Packed{Tree: files, Archive: files.Archive[:100]}
	if _, err := w.remote.Generate(t.Context(), q, []string{"x"}); err == nil || !strings.Contains(err.Error(), "archive") {
		t.Errorf("an archive that broke off: %v", err)
	}
}
