package audit

import (
	"reflect"
	"strings"
	"time"
	"unicode"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Entry is one thing that somebody did, or was refused to do.
type Entry struct {
	At time.Time `json:"at"`
	// User is the name for people, Subject and Issuer are those of the token.
	User    string   `json:"user"`
	Subject string   `json:"subject,omitempty"`
	Issuer  string   `json:"issuer,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	TokenID string   `json:"tokenID,omitempty"`
	// From is the address that the call came from.
	From string `json:"from,omitempty"`
	// Call is the name of the route, Code what it ended with: OK, or why not.
	Call string `json:"call"`
	Code string `json:"code"`
	// Refusal is what the caller was told when he was refused.
	Refusal string `json:"refusal,omitempty"`
	// Object is kind/namespace/name; empty when it is no object of the hub.
	Object string `json:"object,omitempty"`
	// Reason and Message are those of the event.
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Changes []Change `json:"changes,omitempty"`
	// Cut says that there are more changes than are listed.
	Cut bool `json:"cut,omitempty"`

	object client.Object
}

// nobody is who acts without a name.
const nobody = "Unknown user"

// Entries are what a record says: one for each thing that was done, and one for
// a call that did nothing or was refused.
func Entries(r route.Record, now time.Time) []Entry {
	who := r.Call.Who
	base := Entry{
		At: now.UTC(), User: plain(who.Name), Subject: plain(who.Subject), Issuer: who.Issuer, Groups: who.Groups, TokenID: plain(who.TokenID),
		From: plain(r.Call.Client), Call: r.Call.Route.Name(), Code: r.Code.String(),
	}
	if base.User == "" {
		base.User = nobody
	}
	if r.Code != 0 {
		base.Refusal = plain(r.Message)
	}
	var out []Entry
	for _, act := range r.Acts {
		e := base
		e.Object, e.object = name(act.Object), act.Object
		e.Reason, e.Message = act.Reason, plain(base.User+" "+act.Message)
		if act.Before != nil || act.After != nil {
			changes, whole := Difference(act.Before, act.After)
			e.Changes, e.Cut = changes, !whole
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		out = []Entry{base}
	}
	return out
}

func absent(o client.Object) bool { return o == nil || reflect.ValueOf(o).IsNil() }

func name(o client.Object) string {
	if absent(o) {
		return ""
	}
	return kind(o) + "/" + o.GetNamespace() + "/" + o.GetName()
}

// kind is that of the type: objects from caches say none.
func kind(o client.Object) string {
	t := reflect.TypeOf(o)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// maxText bounds texts of callers in the log, in bytes.
const maxText = 1024

// plain takes line breaks and control characters out, and bounds the length.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	return cutTo(s, maxText)
}

func cut(s string) string { return cutTo(s, maxValue) }

func cutTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// done says that the call was carried out.
func (e Entry) done() bool { return e.Code == fault.Code(0).String() }
