package application

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// isLocal says that an operation brings manifests of its own instead of those of
// Git (spec/application.md §11).
func isLocal(op *v1alpha1.Operation) bool {
	return op != nil && op.Sync != nil && len(op.Sync.Manifests) > 0
}

// localRefused says why an operation may not bring manifests of its own, "" when
// it may. Whoever may write Applications can write operations past the server,
// so it is asked here, too.
func (p *pass) localRefused() string {
	sync := p.app.Operation.Sync
	switch {
	case autosync.Enabled(p.app.Spec.SyncPolicy) && !sync.DryRun:
		return "cannot use local sync when Automatic Sync Policy is enabled unless for dry run"
	case len(p.app.Spec.Sources) > 0:
		return "cannot use local sync for an application with several sources: the manifests stand for one source only"
	case signature.Demanded(p.project):
		return "cannot use local sync when signature keys are required."
	}
	return ""
}

// pinLocal names what a local sync is for: the revision that was asked for, or
// that is the target, unresolved. Nothing is read from it, and it must do while
// Git does not answer.
func (p *pass) pinLocal() ([]v1alpha1.ApplicationSource, []string) {
	sources := p.app.Spec.GetSources()[:1]
	revision := p.app.Operation.Sync.Revision
	if revision == "" {
		revision = sources[0].TargetRevision
	}
	if revision == "" {
		revision = "HEAD"
	}
	p.app.Status.OperationState.SyncResult = &v1alpha1.SyncOperationResult{Source: sources[0], Revision: revision}
	return sources, []string{revision}
}

// desired are the manifests of sources at revisions, or those that the
// operation brings.
func (p *pass) desired(ctx context.Context, sources []v1alpha1.ApplicationSource, revisions []string) (*manifest.Manifests, error) {
	if p.local {
		return localManifests(p.app.Operation.Sync.Manifests, revisions)
	}
	if err := p.Manifests.Verify(ctx, p.project, sources, revisions, p.Settings.Snapshot().Keys); err != nil {
		return nil, err
	}
	return p.Manifests.Generate(ctx, p.query(sources), revisions)
}

func localManifests(texts, revisions []string) (*manifest.Manifests, error) {
	out, sum := &manifest.Manifests{Revisions: revisions}, sha256.New()
	for i, text := range texts {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), &u.Object); err != nil || u.GetKind() == "" || u.GetAPIVersion() == "" || u.GetName() == "" && u.GetGenerateName() == "" {
			return nil, fmt.Errorf("operation.sync.manifests[%d] is no Kubernetes object in JSON", i)
		}
		_, _ = io.WriteString(sum, text+"\n") // a hash takes everything
		out.Objects = append(out.Objects, u)
	}
	out.Digest = "local:" + hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

// withoutSecrets takes Secrets out of a local sync: their values would have to
// stand in the Application. They stay as they are on the cluster.
func (v *view) withoutSecrets() {
	secret := func(p syncplan.Pair) bool { return p.Key.Group == "" && p.Key.Kind == "Secret" }
	v.pairs, v.hooks = slices.DeleteFunc(v.pairs, secret), slices.DeleteFunc(v.hooks, secret)
}
