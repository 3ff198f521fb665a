package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/spec3"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// prediction is a remembered answer of the API server.
type prediction struct {
	object *unstructured.Unstructured
	err    error
}

// maxPredictions bounds the remembered answers of one cluster.
const maxPredictions = 4096

// Predict asks what the object would be after an apply in this manner. The
// answer is remembered for this desired object and this live version.
func (c *Connection) Predict(ctx context.Context, obj *unstructured.Unstructured, m syncplan.Manner) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.KeyOf(obj), err)
	}
	live := c.live(object.KeyOf(obj))
	version := ""
	if live != nil {
		version = live.GetResourceVersion()
	}
	sum := sha256.Sum256(raw)
	key := fmt.Sprintf("%s/%s/%v", hex.EncodeToString(sum[:]), version, m)
	c.mu.Lock()
	found, ok := c.predicted[key]
	c.mu.Unlock()
	if ok {
		return found.object, found.err
	}
	w, err := c.write(obj, m, true)
	if err != nil {
		return nil, err
	}
	answer, _, err := w.carryOut(ctx)
	c.count("dry-run", err)
	if Unreachable(err) || live == nil {
		return answer, err
	}
	if err == nil && m.Mode == syncplan.ServerSide && m.Migrate {
		answer = diff.Abandon(answer, w.obj, live, m.Managers...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.predicted) >= maxPredictions {
		clear(c.predicted)
	}
	c.predicted[key] = prediction{answer, err}
	return answer, err
}

// schemas are the types of one group and version, as the cluster has them.
type schemas struct {
	types managedfields.TypeConverter
	err   error
}

// Types gives the schema of a kind as the cluster publishes it, for
// predictions in memory. It is read once and again after kinds were learnt.
func (c *Connection) Types(ctx context.Context, gvk schema.GroupVersionKind) (diff.Types, error) {
	gv := gvk.GroupVersion()
	c.mu.Lock()
	known, ok := c.schemas[gv]
	c.mu.Unlock()
	if ok {
		return known.types, known.err
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer := make(chan schemas, 1)
	go func() {
		types, err := c.readTypes(gv)
		answer <- schemas{types, err}
	}()
	select {
	case <-bounded.Done():
		return nil, fmt.Errorf("schema of %s: %w", gv, bounded.Err())
	case got := <-answer:
		if !Unreachable(got.err) {
			c.mu.Lock()
			c.schemas[gv] = got
			c.mu.Unlock()
		}
		return got.types, got.err
	}
}

func (c *Connection) readTypes(gv schema.GroupVersion) (managedfields.TypeConverter, error) {
	paths, err := c.discovery.OpenAPIV3().Paths()
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", gv, err)
	}
	path := "apis/" + gv.String()
	if gv.Group == "" {
		path = "api/" + gv.Version
	}
	document, ok := paths[strings.TrimSuffix(path, "/")]
	if !ok {
		return nil, fmt.Errorf("schema of %s: the cluster publishes none", gv)
	}
	raw, err := document.Schema("application/json")
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", gv, err)
	}
	var spec spec3.OpenAPI
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("schema of %s: not readable: %w", gv, err)
	}
	if spec.Components == nil {
		return nil, fmt.Errorf("schema of %s: holds no types", gv)
	}
	return managedfields.NewTypeConverter(spec.Components.Schemas, false)
}
