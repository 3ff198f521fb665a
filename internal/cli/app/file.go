package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/cli/console"
)

const maxRemote = 16 << 20

// Fetch reads a file, the input ("-"), or a URL.
func Fetch(ctx context.Context, c *console.Console, name string) ([]byte, error) {
	if !strings.HasPrefix(name, "https://") && !strings.HasPrefix(name, "http://") {
		return c.ReadFile(name)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read %s: the server answers %s", name, answer.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxRemote+1))
	if err == nil && len(raw) > maxRemote {
		err = fmt.Errorf("more than %d MiB", maxRemote>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return raw, nil
}

// Documents reads the YAML or JSON documents of a text into values of one kind;
// fields that the kind does not have are errors.
func Documents[T any](raw []byte, kind string, kindOf func(*T) string) ([]T, error) {
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	var out []T
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		if len(bytes.TrimSpace(doc)) == 0 || onlyComments(doc) {
			continue
		}
		var one T
		if err := strict.UnmarshalStrict(doc, &one); err != nil {
			return nil, fmt.Errorf("document %d is no %s: %w", n, kind, err)
		}
		if got := kindOf(&one); got != "" && got != kind {
			return nil, fmt.Errorf("document %d is a %s, not an %s", n, got, kind)
		}
		out = append(out, one)
	}
}

func onlyComments(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		if t := bytes.TrimSpace(line); len(t) > 0 && t[0] != '#' && !bytes.Equal(t, []byte("---")) {
			return false
		}
	}
	return true
}
