package window_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/window"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func show(s window.State) string {
	word := "open"
	if s.Closed {
		word = "closed"
	}
	if s.Until.IsZero() {
		return word
	}
	return word + " until " + s.Until.UTC().Format(time.RFC3339)
}

type rw = v1alpha1.RolloutWindow

func deny(schedule, duration, zone string) rw {
	return rw{Kind: "deny", Schedule: schedule, Duration: duration, TimeZone: zone}
}

func allow(schedule, duration, zone string) rw {
	return rw{Kind: "allow", Schedule: schedule, Duration: duration, TimeZone: zone}
}

// TestRollout reads windows at instants. Europe/Berlin moves its clocks from
// 02:00 to 03:00 on 2026-03-29 and from 03:00 back to 02:00 on 2026-10-25.
func TestRollout(t *testing.T) {
	weekend := deny("0 17 * * 5", "63h", "Europe/Berlin")
	for _, c := range []struct {
		name    string
		windows []rw
		now     string
		want    string
	}{
		{"no windows", nil, "2026-07-01T00:00:00Z", "open"},
		{"before the freeze", []rw{weekend}, "2026-07-03T14:59:59Z", "open until 2026-07-03T15:00:00Z"},
		{"the first instant is in it", []rw{weekend}, "2026-07-03T15:00:00Z", "closed until 2026-07-06T06:00:00Z"},
		{"in it", []rw{weekend}, "2026-07-05T12:00:00Z", "closed until 2026-07-06T06:00:00Z"},
		{"the last instant is not", []rw{weekend}, "2026-07-06T06:00:00Z", "open until 2026-07-10T15:00:00Z"},
		{"clocks go forward inside: the end is local", []rw{weekend}, "2026-03-28T12:00:00Z", "closed until 2026-03-30T06:00:00Z"},
		{"clocks go back inside: the end is local", []rw{weekend}, "2026-10-24T12:00:00Z", "closed until 2026-10-26T07:00:00Z"},
		{"a start that is skipped is the change", []rw{deny("30 2 * * *", "1h", "Europe/Berlin")}, "2026-03-29T00:59:59Z", "open until 2026-03-29T01:00:00Z"},
		{"and the end stays local", []rw{deny("30 2 * * *", "1h", "Europe/Berlin")}, "2026-03-29T01:00:00Z", "closed until 2026-03-29T01:30:00Z"},
		{"a window inside the skipped hour does not happen", []rw{deny("10 2 * * *", "20m", "Europe/Berlin")}, "2026-03-29T00:30:00Z", "open until 2026-03-30T00:10:00Z"},
		{"a repeated start is its first pass", []rw{deny("30 2 * * *", "10m", "Europe/Berlin")}, "2026-10-25T00:29:59Z", "open until 2026-10-25T00:30:00Z"},
		{"which is open once", []rw{deny("30 2 * * *", "10m", "Europe/Berlin")}, "2026-10-25T00:35:00Z", "closed until 2026-10-25T00:40:00Z"},
		{"and not in the second pass", []rw{deny("30 2 * * *", "10m", "Europe/Berlin")}, "2026-10-25T01:35:00Z", "open until 2026-10-26T01:30:00Z"},
		{"an end after the repeated hour", []rw{deny("30 2 * * *", "40m", "Europe/Berlin")}, "2026-10-25T01:35:00Z", "closed until 2026-10-25T02:10:00Z"},
		{"midnight that does not exist", []rw{deny("0 0 * * *", "2h", "Africa/Cairo")}, "2026-04-23T21:59:59Z", "open until 2026-04-23T22:00:00Z"},
		{"one minute: before", []rw{deny("0 12 * * *", "1m", "")}, "2026-07-01T11:59:59.999999999Z", "open until 2026-07-01T12:00:00Z"},
		{"one minute: first", []rw{deny("0 12 * * *", "1m", "")}, "2026-07-01T12:00:00Z", "closed until 2026-07-01T12:01:00Z"},
		{"one minute: last", []rw{deny("0 12 * * *", "1m", "")}, "2026-07-01T12:00:59.999999999Z", "closed until 2026-07-01T12:01:00Z"},
		{"one minute: after", []rw{deny("0 12 * * *", "1m", "")}, "2026-07-01T12:01:00Z", "open until 2026-07-02T12:00:00Z"},
		{"seconds", []rw{deny("0 12 * * *", "1500ms", "")}, "2026-07-01T12:00:01.4Z", "closed until 2026-07-01T12:00:01Z"},
		{"overlapping firings are one window", []rw{deny("*/20 8 * * *", "30m", "")}, "2026-07-01T08:05:00Z", "closed until 2026-07-01T09:10:00Z"},
		{"touching firings are one window", []rw{deny("*/30 8 * * *", "30m", "")}, "2026-07-01T08:05:00Z", "closed until 2026-07-01T09:00:00Z"},
		{"always closed has no end", []rw{deny("* * * * *", "1h", "")}, "2026-07-01T08:05:00Z", "closed"},
		{"always closed minute by minute", []rw{deny("* * * * *", "1m", "")}, "2026-07-01T08:05:30Z", "closed"},
		{"a year-long window", []rw{deny("0 0 1 1 *", "8760h", "")}, "2027-06-01T00:00:00Z", "closed until 2028-12-31T00:00:00Z"},
		{"leap days only", []rw{deny("0 0 29 2 *", "24h", "")}, "2026-01-01T00:00:00Z", "open until 2028-02-29T00:00:00Z"},
		{"two denies that overlap", []rw{deny("0 8 * * *", "2h", ""), deny("0 9 * * *", "3h", "")}, "2026-07-01T08:30:00Z", "closed until 2026-07-01T12:00:00Z"},
		{"outside of the only allow", []rw{allow("0 8 * * *", "2h", "")}, "2026-07-01T07:00:00Z", "closed until 2026-07-01T08:00:00Z"},
		{"inside an allow", []rw{allow("0 8 * * *", "2h", "")}, "2026-07-01T09:00:00Z", "open until 2026-07-01T10:00:00Z"},
		{"an allow handing over to another", []rw{allow("0 8 * * *", "2h", ""), allow("0 10 * * *", "1h", "")}, "2026-07-01T09:00:00Z", "open until 2026-07-01T11:00:00Z"},
		{"deny beats allow", []rw{allow("0 8 * * *", "4h", ""), deny("0 9 * * *", "1h", "")}, "2026-07-01T09:30:00Z", "closed until 2026-07-01T10:00:00Z"},
		{"a deny outside of the allow changes nothing", []rw{allow("0 8 * * *", "1h", ""), deny("0 12 * * *", "1h", "")}, "2026-07-01T11:00:00Z", "closed until 2026-07-02T08:00:00Z"},
		{"a far zone", []rw{deny("0 0 * * *", "1h", "Pacific/Kiritimati")}, "2026-07-01T10:30:00Z", "closed until 2026-07-01T11:00:00Z"},
		{"a whole day that is skipped", []rw{deny("0 12 30 12 *", "1h", "Pacific/Apia")}, "2011-12-30T09:00:00Z", "open until 2012-12-29T22:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := window.ParseRollout(c.windows, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(r.At(1, at(t, c.now))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestBoundariesAgree walks half a year in Berlin in odd strides: between two
// boundaries the answer never changes, at each boundary it does.
func TestBoundariesAgree(t *testing.T) {
	for _, w := range []rw{
		deny("0 17 * * 5", "63h", "Europe/Berlin"), deny("*/7 2 * * *", "5m", "Europe/Berlin"), deny("30 2,3 25-31 3,10 *", "47m", "Europe/Berlin"),
		deny("0 * * * *", "59m", "Australia/Lord_Howe"), deny("15 1 * * 0", "26h", "America/New_York"),
	} {
		r, err := window.ParseRollout([]rw{w}, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := at(t, "2026-03-20T00:00:00Z")
		for now.Before(at(t, "2026-04-10T00:00:00Z")) {
			s := r.At(1, now)
			if !s.Until.After(now) {
				t.Fatalf("%+v at %s: until %s", w, now, s.Until)
			}
			for probe := now; probe.Before(s.Until); probe = probe.Add(s.Until.Sub(now)/5 + time.Second) {
				if r.At(1, probe).Closed != s.Closed {
					t.Fatalf("%+v: closed %v at %s changes at %s before its boundary %s", w, s.Closed, now, probe, s.Until)
				}
			}
			if r.At(1, s.Until).Closed == s.Closed || r.At(1, s.Until.Add(-time.Nanosecond)).Closed != s.Closed {
				t.Fatalf("%+v: the boundary %s of %s is none", w, s.Until, now)
			}
			now = s.Until
		}
	}
}

func TestRolloutSteps(t *testing.T) {
	windows := []rw{allow("0 8 * * *", "1h", "")}
	windows[0].Steps = []string{"prod", "3"}
	windows[0].Description = "office hours"
	r, err := window.ParseRollout(windows, []v1alpha1.RolloutStep{{Name: "canary"}, {Name: "prod"}, {}})
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[int]bool{1: false, 2: true, 3: true} {
		s := r.At(step, at(t, "2026-07-01T12:00:00Z"))
		if s.Closed != want {
			t.Errorf("step %d closed: %v, want %v", step, s.Closed, want)
		}
		all, err := window.Steps(&v1alpha1.RollingSync{Windows: windows, Steps: []v1alpha1.RolloutStep{{Name: "canary"}, {Name: "prod"}, {}}}, at(t, "2026-07-01T12:00:00Z"))
		if err != nil || len(all) != 4 || all[step-1] != s || all[3].Closed {
			t.Errorf("all steps: %v, %v", all, err)
		}
		if want && s.Why != `outside of allow window "0 8 * * *" for 1h (UTC): office hours` {
			t.Errorf("why: %s", s.Why)
		}
	}
}

// TestLastStepIsHeldByWindowsOfAll: a freeze holds Applications that match no
// step and come last, too.
func TestLastStepIsHeldByWindowsOfAll(t *testing.T) {
	strategy := &v1alpha1.RollingSync{Windows: []rw{deny("0 8 * * *", "12h", "")}, Steps: []v1alpha1.RolloutStep{{Name: "canary"}}}
	all, err := window.Steps(strategy, at(t, "2026-07-01T12:00:00Z"))
	if err != nil || len(all) != 2 || !all[1].Closed || !all[1].Until.Equal(at(t, "2026-07-01T20:00:00Z")) {
		t.Errorf("after the last step: %+v, %v", all, err)
	}
}

func TestRolloutErrors(t *testing.T) {
	steps := []v1alpha1.RolloutStep{{Name: "canary"}, {}}
	limited := func(name string) rw { w := deny("0 0 * * *", "1h", ""); w.Steps = []string{name}; return w }
	long := deny("0 0 * * *", "1h", "")
	long.Description = strings.Repeat("x", 256)
	for _, c := range []struct {
		w    rw
		want string
	}{
		{rw{Kind: "maybe", Schedule: "0 0 * * *", Duration: "1h"}, "windows[0].kind: "},
		{deny("0 0 * *", "1h", ""), "windows[0].schedule: "},
		{deny("", "1h", ""), "windows[0].schedule: "},
		{deny("@daily", "1h", ""), "windows[0].schedule: "},
		{deny("TZ=0", "1h", ""), "windows[0].schedule: "},
		{deny("CRON_TZ=UTC 0 0 * * *", "1h", ""), "windows[0].schedule: "},
		{deny("0 0 30 2 *", "1h", ""), "never comes"},
		{deny("61 0 * * *", "1h", ""), "windows[0].schedule: "},
		{deny("0 0 * * *", "soon", ""), "windows[0].duration: "},
		{deny("0 0 * * *", "-1h", ""), "windows[0].duration: "},
		{deny("0 0 * * *", "0s", ""), "windows[0].duration: "},
		{deny("0 0 * * *", "1h", "Europe/Nowhere"), "windows[0].timeZone: "},
		{deny("0 0 * * *", "1h", "../../etc/passwd"), "windows[0].timeZone: "},
		{deny("0 0 * * *", "1h", "Local"), "windows[0].timeZone: "},
		{limited("prod"), `windows[0].steps[0]: "prod" is not a step: the steps are canary, 2`},
		{limited("3"), `windows[0].steps[0]: "3" is not a step`},
		{limited("0"), `windows[0].steps[0]: "0" is not a step`},
		{long, "windows[0].description: "},
	} {
		_, err := window.ParseRollout([]rw{c.w}, steps)
		if _, all := window.Steps(&v1alpha1.RollingSync{Windows: []rw{c.w}, Steps: steps}, time.Time{}); all == nil {
			t.Errorf("%+v: accepted for the steps", c.w)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "spec.strategy.rollingSync.windows[0]") {
			t.Errorf("%+v: %v, want %s", c.w, err, c.want)
		}
	}
}

func application(name, namespace, cluster, server string) *v1alpha1.Application {
	app := &v1alpha1.Application{}
	app.Name = name
	app.Spec.Destination = v1alpha1.ApplicationDestination{Name: cluster, Server: server, Namespace: namespace}
	return app
}

func TestAssign(t *testing.T) {
	type w = v1alpha1.SyncWindow
	app := application("payment-eu", "payments", "eu-1", "")
	for _, c := range []struct {
		name string
		w    w
		want bool
	}{
		{"nothing listed", w{}, false},
		{"nothing listed, and", w{UseAndOperator: true}, false},
		{"application", w{Applications: []string{"payment-*"}}, true},
		{"another application", w{Applications: []string{"shop-*"}}, false},
		{"everything", w{Applications: []string{"*"}}, true},
		{"namespace", w{Namespaces: []string{"payments"}}, true},
		{"cluster by name", w{Clusters: []string{"eu-?"}}, true},
		{"the server is not written", w{Clusters: []string{"https://*"}}, false},
		{"one of two, or", w{Applications: []string{"shop"}, Clusters: []string{"eu-1"}}, true},
		{"one of two, and", w{Applications: []string{"shop"}, Clusters: []string{"eu-1"}, UseAndOperator: true}, false},
		{"all, and", w{Applications: []string{"payment-eu"}, Namespaces: []string{"pay*"}, Clusters: []string{"eu-1"}, UseAndOperator: true}, true},
		{"only the lists given count, and", w{Namespaces: []string{"pay*"}, UseAndOperator: true}, true},
		{"a broken glob is compared as it is", w{Applications: []string{"[payment-eu"}}, false},
	} {
		c.w.Kind, c.w.Schedule, c.w.Duration = "deny", "* * * * *", "1h"
		if got := len(window.ParseProject([]w{c.w}).Assign(app).Windows()) == 1; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	byServer := v1alpha1.SyncWindow{Kind: "deny", Schedule: "* * * * *", Duration: "1h", Clusters: []string{"https://*.example.com"}}
	if len(window.ParseProject([]v1alpha1.SyncWindow{byServer}).Assign(application("a", "", "", "https://eu.example.com")).Windows()) != 1 {
		t.Error("a cluster named by its server is not matched")
	}
}

// TestSync is the decision table of a project's windows; it is noon.
func TestSync(t *testing.T) {
	now := at(t, "2026-07-01T12:00:00Z")
	type w = v1alpha1.SyncWindow
	make := func(kind string, open bool, options ...string) w {
		out := w{Kind: kind, Schedule: "0 11 * * *", Duration: "3h", Applications: []string{"*"}}
		if !open {
			out.Schedule = "0 20 * * *"
		}
		for _, o := range options {
			out.ManualSync = out.ManualSync || o == "manual"
			out.SyncOverrun = out.SyncOverrun || o == "overrun"
		}
		return out
	}
	before, inside := at(t, "2026-07-01T10:59:00Z"), at(t, "2026-07-01T11:01:00Z")
	for _, c := range []struct {
		name    string
		windows []w
		request window.Request
		allowed bool
		until   string
	}{
		{"no window", nil, window.Request{}, true, ""},
		{"an open deny", []w{make("deny", true)}, window.Request{}, false, "14:00"},
		{"an open deny, a person", []w{make("deny", true)}, window.Request{Manual: true}, false, "14:00"},
		{"an open deny with manualSync, a person", []w{make("deny", true, "manual")}, window.Request{Manual: true}, true, ""},
		{"an open deny with manualSync, by itself", []w{make("deny", true, "manual")}, window.Request{}, false, "14:00"},
		{"two open denies, one with manualSync", []w{make("deny", true, "manual"), make("deny", true)}, window.Request{Manual: true}, false, "14:00"},
		{"a closed deny", []w{make("deny", false)}, window.Request{}, true, "20:00"},
		{"an open allow", []w{make("allow", true)}, window.Request{}, true, "14:00"},
		{"a closed allow", []w{make("allow", false)}, window.Request{}, false, "20:00"},
		{"a closed allow with manualSync, a person", []w{make("allow", false, "manual")}, window.Request{Manual: true}, true, ""},
		{"an open deny beats an open allow", []w{make("allow", true), make("deny", true)}, window.Request{}, false, ""},
		{"a closed deny and a closed allow", []w{make("allow", false), make("deny", false)}, window.Request{}, false, ""},
		{"overrun: started before the deny", []w{make("deny", true, "overrun")}, window.Request{StartedAt: before}, true, ""},
		{"overrun: started inside the deny", []w{make("deny", true, "overrun")}, window.Request{StartedAt: inside}, false, "14:00"},
		{"no overrun: started before the deny", []w{make("deny", true)}, window.Request{StartedAt: before}, false, "14:00"},
		{"overrun of one of two", []w{make("deny", true, "overrun"), make("deny", true)}, window.Request{StartedAt: before}, false, "14:00"},
		{"overrun of an allow that ended", []w{{Kind: "allow", Schedule: "0 8 * * *", Duration: "3h", Applications: []string{"*"}, SyncOverrun: true}}, window.Request{StartedAt: before}, true, ""},
		{"a window that matches nobody", []w{{Kind: "deny", Schedule: "* * * * *", Duration: "1h", Applications: []string{"other"}}}, window.Request{}, true, ""},
		{"a window that cannot be read", []w{{Kind: "deny", Schedule: "bad", Duration: "1h", Applications: []string{"*"}}}, window.Request{Manual: true}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := window.ParseProject(c.windows).Assign(application("web", "default", "eu", "")).Sync(c.request, now)
			until := ""
			if !v.Until.IsZero() {
				until = v.Until.UTC().Format("15:04")
			}
			if v.Allowed != c.allowed || until != c.until || (v.Why == "") != c.allowed {
				t.Errorf("%+v, want %v until %q", v, c.allowed, c.until)
			}
		})
	}
}

func TestProblemsAndActive(t *testing.T) {
	type w = v1alpha1.SyncWindow
	windows := []w{
		{Kind: "deny", Schedule: "* * * * *", Duration: "1h", Applications: []string{"*"}},
		{Kind: "deny", Schedule: "x", Duration: "1h", Applications: []string{"*"}},
		{Kind: "allow", Schedule: "0 9 * * *", Duration: "1h", TimeZone: "Mars/Base", Applications: []string{"*"}},
		{Kind: "allow", Schedule: "0 9 * * *", Duration: "1h"},
	}
	p := window.ParseProject(windows)
	var got []string
	for _, err := range p.Problems() {
		field, _, _ := strings.Cut(err.Error(), ": ")
		got = append(got, field)
	}
	if diff := cmp.Diff([]string{"spec.syncWindows[1].schedule", "spec.syncWindows[2].timeZone", "spec.syncWindows[3]"}, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	// The wrong zone counts as UTC.
	if diff := cmp.Diff([]w{windows[0], windows[2], windows[3]}, p.Active(at(t, "2026-07-01T09:30:00Z"))); diff != "" {
		t.Errorf("active (-want +got):\n%s", diff)
	}
}

func BenchmarkAt(b *testing.B) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, schedule := range []string{"0 17 * * 5", "* * * * *", "* * * 1 *", "0 0 29 2 *"} {
		b.Run(fmt.Sprint(schedule), func(b *testing.B) {
			r, err := window.ParseRollout([]rw{deny(schedule, "63h", "Europe/Berlin")}, nil)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				r.At(1, now)
			}
		})
	}
}
