package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// prediction is a remembered answer of the API server.
type prediction struct {
	// question names what was asked: the desired object, the live version, the
	// manner and on whose behalf.
	question string
	object   *unstructured.Unstructured
	err      error
	at       time.Time
}

// refusalAge is how long a refusal is remembered: from a comparison to the
// sync that it causes. What refuses, a right or a webhook, may change.
const refusalAge = 5 * time.Second

// Predict asks what the object would be after an apply in this manner. The
// last answer for an object is remembered until it is written.
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
	question := fmt.Sprintf("%s/%s/%v/%s", hex.EncodeToString(sum[:]), version, m, identity(ctx))
	key := object.KeyOf(obj)
	c.mu.Lock()
	found, ok := c.predicted[key]
	c.mu.Unlock()
	ok = ok && found.question == question
	now := c.fleet.options.Clock.Now()
	if ok && (found.err == nil || now.Sub(found.at) < refusalAge) {
		return found.object, found.err
	}
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
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
	c.predicted[key] = prediction{question, answer, err, now}
	return answer, err
}
