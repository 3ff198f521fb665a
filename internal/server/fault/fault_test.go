package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestOf(t *testing.T) {
	t.Parallel()
	apps := schema.GroupResource{Group: "argoproj.io", Resource: "applications"}
	secret := errors.New("connect with password hunter2: refused")
	for name, c := range map[string]struct {
		err     error
		code    Code
		http    int
		message string
	}{
		"none":            {nil, 0, 200, ""},
		"coded":           {New(InvalidArgument, "spec.source is missing"), InvalidArgument, 400, "spec.source is missing"},
		"wrapped":         {fmt.Errorf("create: %w", New(AlreadyExists, "there is one")), AlreadyExists, 409, "there is one"},
		"hidden cause":    {Hide(secret, PermissionDenied, "permission denied"), PermissionDenied, 403, "permission denied"},
		"ours":            {secret, Unknown, 500, opaque},
		"left":            {fmt.Errorf("list: %w", context.Canceled), Canceled, 408, "the caller left"},
		"late":            {context.DeadlineExceeded, DeadlineExceeded, 504, "the request took too long"},
		"absent":          {apierrors.NewNotFound(apps, "web"), NotFound, 404, `applications.argoproj.io "web" not found`},
		"conflict":        {apierrors.NewConflict(apps, "web", errors.New("changed")), Aborted, 409, `Operation cannot be fulfilled on applications.argoproj.io "web": changed`},
		"throttled":       {apierrors.NewTooManyRequests("slow down", 1), ResourceExhausted, 429, "slow down"},
		"our credentials": {apierrors.NewUnauthorized("bad token abc"), Unavailable, 503, "the cluster refuses the credentials of the server"},
		"internal":        {apierrors.NewInternalError(secret), Internal, 500, opaque},
	} {
		code, message := Of(c.err)
		if code != c.code || code.HTTP() != c.http || message != c.message {
			t.Errorf("%s: %v %d %q, want %v %d %q", name, code, code.HTTP(), message, c.code, c.http, c.message)
		}
	}
	if err := Hide(secret, NotFound, "no"); !errors.Is(err, secret) || err.Error() != "no" {
		t.Errorf("the cause of %v is lost for the log", err)
	}
}

func TestCodesAreComplete(t *testing.T) {
	t.Parallel()
	for code := Code(1); code <= Unauthenticated; code++ {
		if (names[code] == "") != (statuses[code] == 0) {
			t.Errorf("code %d has a name or a status, not both", code)
		}
	}
	if got := Code(99).String() + fmt.Sprint(Code(99).HTTP()); got != "Code(99)500" {
		t.Errorf("a code that is none: %s", got)
	}
}
