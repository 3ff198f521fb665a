package route

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

type allowed []string

func (a allowed) Allowed(_ access.Principal, what access.Request) bool {
	for _, one := range a {
		if one == what.Resource+"/"+what.Action+" "+what.Object {
			return true
		}
	}
	return false
}

type question struct{ Ask []access.Request }

type answer struct{}

// records keeps what the audit was told.
type records []Record

func (r *records) Record(_ context.Context, one Record) { *r = append(*r, one) }

func run(rule Rule, decide access.Decider, who access.Principal, handle func(context.Context, *Call, *question) (*answer, error)) (*records, error) {
	line := Unary(Spec{Method: "POST", Path: "/x", RPC: "a.B/C", Rule: rule}, handle)
	told := &records{}
	r := Runner{Log: slog.New(slog.DiscardHandler), Audit: told}
	_, err := r.Do(context.Background(), NewCall(&line, who, decide), &question{})
	return told, err
}

func TestAnswersNeedTheirChecks(t *testing.T) {
	t.Parallel()
	get := access.Request{Resource: "apps", Action: "get", Object: "a"}
	fine := access.Request{Resource: "apps", Action: "delete//Pod/x/p", Object: "a"}
	for name, c := range map[string]struct {
		rule    Rule
		allow   allowed
		who     access.Principal
		ask     []access.Request
		vouch   bool
		code    fault.Code
		message string
	}{
		"granted":        {Needs("apps/get"), allowed{"apps/get a"}, access.Principal{}, []access.Request{get}, false, 0, ""},
		"refused":        {Needs("apps/get"), nil, access.Principal{Subject: "ann"}, []access.Request{get}, false, fault.PermissionDenied, "permission denied: apps, get, a, sub: ann"},
		"since when":     {Needs("apps/get"), nil, access.Principal{Subject: "ann", IssuedAt: time.Unix(1_800_000_000, 0)}, []access.Request{get}, false, fault.PermissionDenied, "permission denied: apps, get, a, sub: ann, iat: 2027-01-15T08:00:00Z"},
		"not asked":      {Needs("apps/get"), allowed{"apps/get a"}, access.Principal{}, nil, false, fault.Internal, "not checked"},
		"half asked":     {Needs("apps/get", "apps/sync"), allowed{"apps/get a"}, access.Principal{}, []access.Request{get}, false, fault.Internal, "not checked"},
		"may is enough":  {Lists("apps/get"), nil, access.Principal{}, nil, false, 0, ""},
		"not declared":   {Lists("apps/list"), allowed{"apps/get a"}, access.Principal{}, []access.Request{get}, false, fault.Internal, "not declared"},
		"fine":           {Needs("apps/delete/*"), allowed{"apps/delete//Pod/x/p a"}, access.Principal{}, []access.Request{fine}, false, 0, ""},
		"plain for fine": {Needs("apps/delete"), allowed{"apps/delete//Pod/x/p a"}, access.Principal{}, []access.Request{fine}, false, fault.Internal, "not declared"},
		"vouched":        {Needs("apps/get"), nil, access.Principal{}, nil, true, 0, ""},
		"unrestricted":   {Needs("apps/get"), nil, access.Principal{Unrestricted: true}, []access.Request{get}, false, 0, ""},
	} {
		_, err := run(c.rule, c.allow, c.who, func(_ context.Context, call *Call, _ *question) (*answer, error) {
			if c.vouch {
				call.Vouch()
			}
			for _, what := range c.ask {
				if err := call.Must(what); err != nil {
					return nil, err
				}
			}
			return &answer{}, nil
		})
		if code, message := fault.Of(err); code != c.code || !strings.Contains(message, c.message) {
			t.Errorf("%s: %v %q, want %v %q", name, code, message, c.code, c.message)
		}
		_, err = run(c.rule, c.allow, c.who, func(_ context.Context, call *Call, _ *question) (*answer, error) {
			if c.vouch {
				call.Vouch()
			}
			for _, what := range c.ask {
				if visible := call.Sieve(what.Resource, what.Action); !visible(what.Object) || visible("another") != c.who.Unrestricted {
					return nil, Denied(call.Who, what)
				}
			}
			return &answer{}, nil
		})
		if code, message := fault.Of(err); code != c.code || !strings.Contains(message, c.message) {
			t.Errorf("%s, with a sieve: %v %q, want %v %q", name, code, message, c.code, c.message)
		}
	}
}

func TestAuditHearsOfEveryChange(t *testing.T) {
	t.Parallel()
	told, err := run(Public(), nil, access.Principal{Subject: "ann"}, func(_ context.Context, c *Call, _ *question) (*answer, error) {
		c.Did(Act{Reason: "ResourceCreated", Message: "created"})
		return &answer{}, nil
	})
	if err != nil || len(*told) != 1 || len((*told)[0].Acts) != 1 || (*told)[0].Call.Who.Subject != "ann" || (*told)[0].Code != 0 {
		t.Errorf("%v, %+v", err, told)
	}
	told, err = run(Public(), nil, access.Principal{}, func(context.Context, *Call, *question) (*answer, error) { return nil, Hidden() })
	if err == nil || (*told)[0].Code != fault.PermissionDenied || (*told)[0].Message != "permission denied" {
		t.Errorf("%v, %+v", err, told)
	}
	told, err = run(Public(), nil, access.Principal{}, func(context.Context, *Call, *question) (*answer, error) { panic("x") })
	if code, message := fault.Of(err); code != fault.Internal || strings.Contains(message, "x:") || (*told)[0].Code != fault.Internal {
		t.Errorf("%v, %+v", err, told)
	}
	_, err = run(Public(), nil, access.Principal{}, func(context.Context, *Call, *question) (*answer, error) { return nil, nil })
	if code, _ := fault.Of(err); code != fault.Unknown {
		t.Errorf("no answer: %v", err)
	}
}

func TestStreamsSendNothingUnchecked(t *testing.T) {
	t.Parallel()
	line := Stream(Spec{Method: "GET", Path: "/x", RPC: "a.B/C", Rule: Needs("apps/get")}, func(_ context.Context, _ *Call, _ *question, send func(*answer) error) error {
		return send(&answer{})
	})
	sent := 0
	r := Runner{Log: slog.New(slog.DiscardHandler)}
	err := r.Pour(context.Background(), NewCall(&line, access.Principal{}, allowed{}), &question{}, func(any) error { sent++; return nil })
	if code, _ := fault.Of(err); code != fault.Internal || sent != 0 {
		t.Errorf("%v after %d messages", err, sent)
	}
	if err := r.Pour(context.Background(), NewCall(&line, access.Principal{}, allowed{}), "no question", nil); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a request of another type: %v", err)
	}
}
