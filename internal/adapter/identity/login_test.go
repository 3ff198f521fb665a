package identity_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
)

func TestLogin(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ name, password, err string }{
		{"alice", password, ""},
		{"admin", password, ""},
		{"alice", "wrong", "Invalid username or password"},
		{"nobody", password, "Invalid username or password"},
		{"", password, "Invalid username or password"},
		{"off", "wrong", "Invalid username or password"},
		{"off", password, "Account off is disabled"},
		{"robot", password, "Account robot does not have login capability"},
		{"alice", "", "Blank passwords are not allowed"},
		{"alice", strings.Repeat("x", 4096), "Invalid username or password"},
		{strings.Repeat("x", 33), password, "Username is too long (32 bytes max)"},
	} {
		token, err := r.login(t, c.name, c.password, "10.0.0.9")
		if text(err) != c.err || (err == nil) != (token != "") {
			t.Errorf("%s %.10s: %q, want %q", c.name, c.password, text(err), c.err)
		}
		if err != nil {
			continue
		}
		s, err := r.Verify(token)
		if err != nil || s.Subject != c.name || !s.Interactive || s.TokenID == "" || s.ExpiresAt.Sub(s.IssuedAt) != 24*time.Hour {
			t.Errorf("%s: %+v %v", c.name, s, err)
		}
	}
	if strings.Contains(r.log.String(), password) {
		t.Error("a password is in the log")
	}
}

// TestAttemptsTakeTheSameTime: existing, disabled, blocked and invented names
// all take half a second to one second of the clock (T-11576).
func TestAttemptsTakeTheSameTime(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"alice", "off", "nobody"} {
		for range 7 { // the last ones are blocked
			before := r.clock.Now()
			_, err := r.login(t, name, "wrong", "10.0.0.1")
			if took := r.clock.Now().Sub(before); took < 500*time.Millisecond || took > 1100*time.Millisecond || !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s takes %s and says %v", name, took, err)
			}
		}
	}
}

// TestGuessesAreBraked is T-8827: of a thousand wrong passwords in a minute
// five are compared, and another source is not shut out.
func TestGuessesAreBraked(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			_, err := r.Login(t.Context(), identity.Attempt{Name: "admin", Password: "wrong", Source: "192.0.2.1"})
			if !errors.Is(err, identity.ErrCredentials) {
				t.Error(err)
			}
		})
	}
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	if _, err := r.wait(t, func() (string, error) { <-finished; return "", nil }); err != nil {
		t.Fatal(err)
	}
	if r.hub.writes != 5 { // each failure is written once
		t.Errorf("%d failures are in the ledger, want 5", r.hub.writes)
	}
	if _, err := r.login(t, "admin", password, "192.0.2.1"); !errors.Is(err, identity.ErrCredentials) {
		t.Errorf("the right password after five failures: %v", err)
	}
	if _, err := r.login(t, "admin", password, "192.0.2.2"); err != nil {
		t.Errorf("another source is shut out: %v", err)
	}
	r.clock.Step(300 * time.Second)
	if _, err := r.login(t, "admin", password, "192.0.2.1"); err != nil {
		t.Errorf("after the window: %v", err)
	}
}

// TestBrakeOutlivesTheProcess is T-21652, TestBrakeIsNotFlushed T-21662.
func TestBrakeOutlivesTheProcess(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		if _, err := r.login(t, "admin", fmt.Sprint("wrong", i), "192.0.2.1"); err == nil {
			t.Fatal("a wrong password is right")
		}
		r = process(t, r.hub, r.clock)
	}
	if _, err := r.login(t, "admin", password, "192.0.2.1"); err == nil {
		t.Error("a restart lifts the brake")
	}
}

func TestBrakeIsNotFlushed(t *testing.T) {
	r := newRig(t)
	for range 5 {
		_, _ = r.login(t, "admin", "wrong", "192.0.2.1")
	}
	writes := r.hub.writes
	for range 50 {
		_, _ = r.login(t, fmt.Sprint("invented-", rand.Int64()), "wrong", "192.0.2.1")
	}
	if _, err := r.login(t, "admin", password, "192.0.2.1"); err == nil || r.hub.writes != writes {
		t.Errorf("%d writes for invented names, %v", r.hub.writes-writes, err)
	}
}

func TestLoginGoesOnWithoutTheHub(t *testing.T) {
	r := newRig(t)
	r.hub.breakWrites(errAway)
	for range 5 {
		_, _ = r.login(t, "alice", "wrong", "192.0.2.1")
	}
	if _, err := r.login(t, "alice", password, "192.0.2.1"); err == nil {
		t.Error("failures are not counted while the hub is away")
	}
	if _, err := r.login(t, "alice", password, "192.0.2.2"); err != nil {
		t.Errorf("nobody can log in while the hub is away: %v", err)
	}
	if !strings.Contains(r.log.String(), "sluice-sessions") {
		t.Error("nothing says that logins are not remembered")
	}
	r.hub.breakWrites(nil)
	_, _ = r.login(t, "admin", "wrong", "192.0.2.1") // writes what is pending
	again := process(t, r.hub, r.clock)
	if _, err := again.login(t, "alice", password, "192.0.2.1"); err == nil {
		t.Error("what was pending is not written")
	}
}

func TestLoginEndsWithItsCaller(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Login(ctx, identity.Attempt{Name: "alice", Password: password}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMatches(t *testing.T) {
	r := newRig(t)
	for given, want := range map[string]bool{password: true, "wrong": false} {
		got := ""
		if _, err := r.wait(t, func() (string, error) {
			ok, err := r.Matches(t.Context(), identity.Attempt{Name: "alice", Password: given, Source: "x"})
			got = fmt.Sprint(ok)
			return "", err
		}); err != nil || got != fmt.Sprint(want) {
			t.Errorf("%s: %s %v", given, got, err)
		}
	}
}

// TestConcurrentLogins is T-21661, under -race.
func TestConcurrentLogins(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			_, _ = r.Login(t.Context(), identity.Attempt{Name: fmt.Sprint("n", i%7), Password: "wrong", Source: fmt.Sprint(i % 3)})
		})
		all.Go(func() {
			_, _ = r.Login(t.Context(), identity.Attempt{Name: "alice", Password: password, Source: fmt.Sprint("s", i)})
			r.Reload()
		})
	}
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	if _, err := r.wait(t, func() (string, error) { <-finished; return "", nil }); err != nil {
		t.Fatal(err)
	}
}

func TestRevokedStays(t *testing.T) {
	r := newRig(t)
	token := r.token(t, "alice")
	s := must(r.Verify(token))
	r.hub.breakWrites(errAway)
	if err := r.Revoke(t.Context(), s.TokenID, s.ExpiresAt); !errors.Is(err, errAway) {
		t.Errorf("the hub is away: %v", err)
	}
	if _, err := r.Verify(token); err == nil {
		t.Error("a revoked token is good while the hub is away")
	}
	r.hub.breakWrites(nil)
	other := process(t, r.hub, r.clock)
	if err := r.Revoke(t.Context(), s.TokenID, s.ExpiresAt); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(token); err != nil {
		t.Error("another process knows before it can")
	}
	other.Reload()
	if _, err := other.Verify(token); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("another process does not hear: %v", err)
	}
	if _, err := process(t, r.hub, r.clock).Verify(token); err == nil {
		t.Error("a restart forgets")
	}
	if err := r.Revoke(t.Context(), "", time.Time{}); err == nil {
		t.Error("a token without id is revoked")
	}
}

func TestBrokenLedger(t *testing.T) {
	r := newRig(t)
	token := r.token(t, "alice")
	s := must(r.Verify(token))
	if err := r.Revoke(t.Context(), s.TokenID, s.ExpiresAt); err != nil {
		t.Fatal(err)
	}
	_, _ = r.hub.Mutate(t.Context(), "sluice-sessions", func(data map[string][]byte) error { data["revoked.json"] = []byte("{"); return nil })
	r.Reload()
	if _, err := r.Verify(token); err == nil {
		t.Error("a broken Secret brings a revoked token back")
	}
	_, err := identity.New(identity.Options{Hub: r.hub, Secrets: r.hub, Clock: r.clock, Random: strings.NewReader(strings.Repeat("x", 100)), Log: nil})
	if err == nil || !strings.Contains(err.Error(), "Secret/sluice-sessions") || !strings.Contains(err.Error(), "remove the key") {
		t.Errorf("a start with a broken Secret: %v", err)
	}
}
