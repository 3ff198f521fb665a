package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	registry "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// chartLayer is the layer of a chart in an OCI registry.
const chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// Limits of OCI: bytes of a manifest, and tags that are looked at.
const (
	maxManifest = 4 << 20
	maxTags     = 100_000
)

// chartReference is registry/path of a chart.
func chartReference(c Chart) string {
	return strings.TrimSuffix(strings.TrimPrefix(c.Repository.URL, "oci://"), "/") + "/" + c.Name
}

// repository opens registry/path with the credentials of r, which go to that
// registry only.
func (f *Fetcher) repository(r repo.Repository, reference string) (*registry.Repository, func(), error) {
	where, err := registry.NewRepository(reference)
	if err != nil {
		return nil, nil, fmt.Errorf("%q is not a repository of an OCI registry", redact(reference))
	}
	c, err := f.client(r, false)
	if err != nil {
		return nil, nil, err
	}
	client := &auth.Client{Client: c, Cache: auth.NewCache()}
	client.SetUserAgent(f.tuning().UserAgent)
	if r.Username != "" || r.Password.Reveal() != "" || r.BearerToken.Reveal() != "" {
		client.Credential = auth.StaticCredential(where.Reference.Host(), auth.Credential{
			Username: r.Username, Password: r.Password.Reveal(), AccessToken: r.BearerToken.Reveal(),
		})
	}
	where.Client, where.PlainHTTP, where.MaxMetadataBytes = client, r.InsecureOCIForceHTTP, maxManifest
	return where, c.CloseIdleConnections, nil
}

// errAbsent is a name that the registry does not know.
var errAbsent = errors.New("not found in the registry")

// explainOCI turns an error of a registry into what its owner can do.
func explainOCI(err error) error {
	if answer := new(errcode.ErrorResponse); errors.As(err, &answer) {
		switch answer.StatusCode {
		case 401, 403:
			return fmt.Errorf("the registry refused the credentials (%d): check username and password of the repository", answer.StatusCode)
		case 404:
			return errAbsent
		}
		return fmt.Errorf("the registry answered %d", answer.StatusCode)
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return errAbsent
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return errors.New("the registry asks for credentials: declare the repository with username and password")
	}
	return plain(err)
}

// tags lists the tags of a repository, with + where a tag has _.
func (f *Fetcher) tags(ctx context.Context, r repo.Repository, reference string) ([]string, error) {
	return once(f, r, []string{"tags", reference}, func() ([]string, item, error) {
		ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
		defer cancel()
		where, done, err := f.repository(r, reference)
		if err != nil {
			return nil, item{}, err
		}
		defer done()
		var out []string
		err = where.Tags(ctx, "", func(page []string) error {
			for _, t := range page {
				out = append(out, strings.ReplaceAll(t, "_", "+"))
			}
			if len(out) > maxTags {
				return fmt.Errorf("the repository has more than %d tags", maxTags)
			}
			return nil
		})
		f.count("tags", err)
		if err != nil {
			return nil, item{}, explainOCI(err)
		}
		return out, item{until: f.until(), size: int64(50 * len(out))}, nil
	})
}

// layer fetches the one layer of an artifact that is of a type.
func (f *Fetcher) layer(ctx context.Context, r repo.Repository, at ociPlace, types []string) ([]byte, string, error) {
	ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
	defer cancel()
	where, done, err := f.repository(r, at.reference)
	if err != nil {
		return nil, "", err
	}
	defer done()
	described, raw, err := fetchManifest(ctx, where, at.version)
	if err != nil {
		return nil, "", explainOCI(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, "", fmt.Errorf("the manifest %s is not valid JSON", described.Digest)
	}
	var layers []ocispec.Descriptor
	for _, l := range m.Layers {
		if slices.Contains(types, l.MediaType) {
			layers = append(layers, l)
		}
	}
	if len(layers) != 1 {
		return nil, "", fmt.Errorf("has %d layers of type %s, want one", len(layers), strings.Join(types, " or "))
	}
	limit := f.tuning().Artifacts.Packed
	if limit == 0 {
		limit = 100 << 20
	}
	if layers[0].Size > limit {
		return nil, "", fmt.Errorf("has %d bytes, at most %d are allowed", layers[0].Size, limit)
	}
	body, err := where.Fetch(ctx, layers[0])
	if err != nil {
		return nil, "", explainOCI(err)
	}
	defer func() { _ = body.Close() }()
	whole, err := content.ReadAll(body, layers[0]) // checks size and digest
	if err != nil {
		return nil, "", explainOCI(err)
	}
	return whole, layers[0].MediaType, nil
}

// ociPlace is a tag or digest in a repository.
type ociPlace struct{ reference, version string }

func fetchManifest(ctx context.Context, where *registry.Repository, version string) (ocispec.Descriptor, []byte, error) {
	described, body, err := where.FetchReference(ctx, version)
	if err != nil {
		return described, nil, err
	}
	defer func() { _ = body.Close() }()
	if described.Size > maxManifest {
		return described, nil, fmt.Errorf("the manifest has more than %d bytes", maxManifest)
	}
	raw, err := content.ReadAll(io.LimitReader(body, maxManifest), described)
	return described, raw, err
}

func (f *Fetcher) chartLayer(ctx context.Context, c Chart, found string) ([]byte, error) {
	raw, _, err := f.layer(ctx, c.Repository, ociPlace{chartReference(c), strings.ReplaceAll(found, "+", "_")}, []string{chartLayer})
	return raw, err
}

// ResolveArtifact gives the digest that a tag, digest or range of an oci://
// source means (spec/application.md §6.3).
func (f *Fetcher) ResolveArtifact(ctx context.Context, r repo.Repository, revision string) (string, error) {
	digest, err := f.resolveArtifact(ctx, r, revision)
	if err != nil {
		return "", fmt.Errorf("%s: %w", redact(r.URL), err)
	}
	return digest, nil
}

func (f *Fetcher) resolveArtifact(ctx context.Context, r repo.Repository, revision string) (string, error) {
	if strings.HasPrefix(revision, "sha256:") {
		return revision, nil
	}
	if revision == "" {
		revision = "latest"
	}
	reference := strings.TrimPrefix(r.URL, "oci://")
	resolve := func(tag string) (string, error) {
		return once(f, r, []string{"tag", tag}, func() (string, item, error) {
			ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
			defer cancel()
			where, done, err := f.repository(r, reference)
			if err != nil {
				return "", item{}, err
			}
			defer done()
			described, err := where.Resolve(ctx, tag)
			f.count("tag", err)
			if err != nil {
				return "", item{}, err
			}
			return described.Digest.String(), item{until: f.until(), size: 100}, nil
		})
	}
	var err error
	if validTag(revision) {
		var digest string
		if digest, err = resolve(strings.ReplaceAll(revision, "+", "_")); err == nil {
			return digest, nil
		}
		if !errors.Is(err, errdef.ErrNotFound) || exact(revision) {
			return "", fmt.Errorf("tag %q: %w", revision, explainOCI(err))
		}
	}
	tags, listErr := f.tags(ctx, r, reference)
	if listErr != nil {
		return "", listErr
	}
	found, rangeErr := newest(tags, revision)
	if rangeErr != nil {
		return "", rangeErr
	}
	digest, err := resolve(strings.ReplaceAll(found, "+", "_"))
	if err != nil {
		return "", fmt.Errorf("tag %q: %w", found, explainOCI(err))
	}
	return digest, nil
}

func validTag(text string) bool {
	return len(text) <= 128 && !strings.ContainsFunc(text, func(c rune) bool {
		return !(c == '_' || c == '.' || c == '-' || c == '+' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}) && text != ""
}

// Annotations are what an artifact says of itself.
func (f *Fetcher) Annotations(ctx context.Context, r repo.Repository, digest string) (map[string]string, error) {
	found, err := once(f, r, []string{"annotations", digest}, func() (map[string]string, item, error) {
		ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
		defer cancel()
		where, done, err := f.repository(r, strings.TrimPrefix(r.URL, "oci://"))
		if err != nil {
			return nil, item{}, err
		}
		defer done()
		_, raw, err := fetchManifest(ctx, where, digest)
		if err != nil {
			return nil, item{}, explainOCI(err)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, item{}, fmt.Errorf("the manifest %s is not valid JSON", digest)
		}
		return m.Annotations, item{size: int64(len(raw))}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", redact(r.URL), digest, err)
	}
	return found, nil
}

// Artifact fetches the content of an artifact by digest.
func (f *Fetcher) Artifact(ctx context.Context, r repo.Repository, digest string) (tree.Tree, error) {
	t, err := once(f, r, []string{"artifact", digest}, func() (tree.Tree, item, error) {
		raw, kind, err := f.layer(ctx, r, ociPlace{strings.TrimPrefix(r.URL, "oci://"), digest}, f.tuning().MediaTypes)
		f.count("artifact", err)
		if err != nil {
			return nil, item{}, err
		}
		strip := 0
		if kind == chartLayer {
			strip = 1 // the folder of the chart
		}
		b, err := tree.Untar(bytes.NewReader(raw), strip, f.tuning().Artifacts)
		if err != nil {
			return nil, item{}, err
		}
		return b.Build(digest), item{size: int64(4 * len(raw))}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", redact(r.URL), digest, err)
	}
	return t, nil
}
