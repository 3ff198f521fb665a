package cluster

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// versioned names one state of an object in one version of its kind.
type versioned struct {
	uid            types.UID
	state, version string
}

// maxConverted bounds the remembered answers of one cluster.
const maxConverted = 1024

// InVersion gives a live object in another version of its kind, as the API
// server converts it. Kinds are watched in one version only. The answer is
// remembered for this state of the object.
func (c *Connection) InVersion(ctx context.Context, live *unstructured.Unstructured, gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	if live.GroupVersionKind() == gvk {
		return live, nil
	}
	key := versioned{live.GetUID(), live.GetResourceVersion(), gvk.Version}
	c.mu.Lock()
	found := c.converted[key]
	c.mu.Unlock()
	if found != nil {
		return found, nil
	}
	read, err := c.Read(ctx, gvk, live.GetNamespace(), live.GetName())
	if err != nil {
		return nil, err
	}
	trim(read)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.converted == nil || len(c.converted) >= maxConverted {
		c.converted = map[versioned]*unstructured.Unstructured{}
	}
	c.converted[versioned{read.GetUID(), read.GetResourceVersion(), gvk.Version}] = read
	return read, nil
}
