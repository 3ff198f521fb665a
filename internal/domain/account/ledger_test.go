package account_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/account"
)

func ledger() *account.Ledger { return account.NewLedger(account.DefaultLimits) }

func TestFailuresBlockOneSource(t *testing.T) {
	l := ledger()
	for i := range 5 {
		if l.Blocked("admin", "10.0.0.1", now) {
			t.Fatalf("blocked after %d failures", i)
		}
		l.Failed("admin", "10.0.0.1", now.Add(time.Duration(i)*time.Second))
	}
	at := now.Add(10 * time.Second)
	if !l.Blocked("admin", "10.0.0.1", at) {
		t.Error("five failures do not block")
	}
	if l.Blocked("admin", "10.0.0.2", at) || l.Blocked("bob", "10.0.0.1", at) {
		t.Error("another source or account is blocked")
	}
	if l.Blocked("admin", "10.0.0.1", now.Add(300*time.Second)) {
		t.Error("a failure counts for longer than its window")
	}
	if l.Blocked("admin", "10.0.0.1", now.Add(-time.Hour)) {
		t.Error("a clock that was set back blocks for an hour more")
	}
	l.Succeeded("admin", "10.0.0.1")
	if l.Blocked("admin", "10.0.0.1", at) {
		t.Error("a good login does not clear its source")
	}
}

func TestManySourcesBlockAllButKnownOnes(t *testing.T) {
	l := ledger()
	l.Succeeded("admin", "home")
	for i := range 100 {
		l.Failed("admin", fmt.Sprint("bot-", i), now)
	}
	if !l.Blocked("admin", "stranger", now) {
		t.Error("a hundred sources may go on guessing")
	}
	if l.Blocked("admin", "home", now) || l.Blocked("bob", "stranger", now) {
		t.Error("who has logged in before, or another account, is shut out")
	}
}

func TestInventedNamesChangeNothing(t *testing.T) {
	l := ledger()
	for range 5 {
		l.Failed("admin", "x", now)
	}
	for i := range 100000 {
		if l.Blocked(fmt.Sprint("invented-", i), "x", now) {
			t.Fatal("an invented name is blocked")
		}
	}
	data := map[string][]byte{}
	if err := l.Encode(data, now); err != nil {
		t.Fatal(err)
	}
	if !l.Blocked("admin", "x", now) || len(data["logins.json"]) > 200 {
		t.Errorf("%d bytes", len(data["logins.json"]))
	}
}

func TestLedgerOutlivesAProcess(t *testing.T) {
	l := ledger()
	for range 5 {
		l.Failed("admin", "192.0.2.7", now)
	}
	l.Succeeded("bob", "192.0.2.8")
	for id, expires := range map[string]time.Time{"gone": now.Add(-time.Second), "soon": now.Add(time.Minute), "never": {}} {
		if err := l.Revoke(id, expires); err != nil {
			t.Fatal(err)
		}
	}
	data := map[string][]byte{"other": []byte("kept")}
	if err := l.Encode(data, now); err != nil {
		t.Fatal(err)
	}
	if all := bytes.Join([][]byte{data["revoked.json"], data["logins.json"]}, nil); bytes.Contains(all, []byte("192.0.2")) || bytes.Contains(all, []byte("soon")) {
		t.Errorf("ids or addresses are stored: %s", all)
	}
	again, err := account.DecodeLedger(account.DefaultLimits, data)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Blocked("admin", "192.0.2.7", now) || !again.Knows("bob", "192.0.2.8") || !again.Revoked("soon") || !again.Revoked("never") || again.Revoked("gone") || again.Revoked("other") {
		t.Error("a restart forgets")
	}
	if err := again.Encode(data, now.Add(time.Hour)); err != nil || strings.Contains(string(data["logins.json"]), "admin") || string(data["other"]) != "kept" {
		t.Errorf("what is over is kept: %s", data["logins.json"])
	}
}

func TestLedgerIsBounded(t *testing.T) {
	limits := account.DefaultLimits
	limits.Revoked = 10
	l := account.NewLedger(limits)
	for i := range 10 {
		if err := l.Revoke(fmt.Sprint(i), now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Revoke("more", now); !errors.Is(err, account.ErrFull) {
		t.Errorf("a full ledger says %v", err)
	}
	if err := l.Revoke("3", now); err != nil {
		t.Errorf("the same token again: %v", err)
	}
	for i := range 1000 {
		l.Succeeded("admin", fmt.Sprint(i))
		l.Failed("admin", "one", now)
	}
	data := map[string][]byte{}
	if err := l.Encode(data, now); err != nil || len(data["logins.json"]) > 1000 {
		t.Errorf("%d bytes, %v", len(data["logins.json"]), err)
	}
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`{"admin":{"failures":{"x":[1,2]},"known":["y"]}}`))
	f.Add([]byte(`null`), []byte(`{"admin":null}`))
	f.Fuzz(func(t *testing.T, revoked, logins []byte) {
		l, err := account.DecodeLedger(account.DefaultLimits, map[string][]byte{"revoked.json": revoked, "logins.json": logins})
		if err != nil {
			return
		}
		l.Failed("admin", "x", now)
		l.Succeeded("admin", "x")
		l.Blocked("admin", "y", now)
		if err := l.Revoke("id", now.Add(time.Hour)); err == nil && !l.Revoked("id") {
			t.Error("not revoked")
		}
		if err := l.Encode(map[string][]byte{}, now); err != nil {
			t.Error(err)
		}
	})
}
