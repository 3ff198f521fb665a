package advance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// arrivals lets changes come every 10 ms for a minute; each of the given
// intervals brings one of its occasion, which waits until it is written. It
// returns the times of the writes and how long each permission waited.
func arrivals(members int, each map[occasion]time.Duration) (writes []time.Time, waits []time.Duration) {
	var p pace
	begin := time.Unix(1_800_000_000, 0)
	var since time.Time // of the permission that waits
	why := information
	for now := begin; now.Before(begin.Add(time.Minute)); now = now.Add(10 * time.Millisecond) {
		for o, interval := range each {
			if now.After(begin) && now.Sub(begin)%interval == 0 {
				why = max(why, o)
				if o == permission && since.IsZero() {
					since = now
				}
			}
		}
		if p.rest(now, why, members) > 0 {
			continue
		}
		if why == permission {
			waits = append(waits, now.Sub(since))
		}
		writes, since, why = append(writes, now), time.Time{}, information
		p.wrote(now)
	}
	return writes, waits
}

// most is how many of the times lie within any such span.
func most(times []time.Time, span time.Duration) int {
	most := 0
	for i, first := 0, 0; i < len(times); i++ {
		for times[i].Sub(times[first]) >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// TestPace: whatever comes, no second sees more than two writes of a large set,
// no n seconds more than 2n and its burst of a small one; permissions of a small set do
// not wait as long as its burst lasts, those of a large one seldom and never as
// long as a second; nothing else waits for long either.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		members int
		each    map[occasion]time.Duration
		// late is how many permissions in a hundred may wait, longest how long.
		late    int
		longest time.Duration
	}{
		{"large, nobody waits", 2000, nil, 0, 0},
		{"large, a step each 2 s", 2000, map[occasion]time.Duration{permission: 2 * time.Second}, 3, 500 * time.Millisecond},
		{"large, a step each 600 ms", 2000, map[occasion]time.Duration{permission: 600 * time.Millisecond}, 3, 500 * time.Millisecond},
		{"large, a flood of permissions", 2000, map[occasion]time.Duration{permission: 10 * time.Millisecond}, 100, time.Second},
		{"large, a flood of news", 2000, map[occasion]time.Duration{news: 10 * time.Millisecond, permission: 3 * time.Second}, 100, time.Second},
		{"small, nobody waits", 5, nil, 0, 0},
		{"small, a step each 350 ms", 50, map[occasion]time.Duration{permission: 350 * time.Millisecond}, 0, 0},
		{"small, a step each 470 ms", 200, map[occasion]time.Duration{permission: 470 * time.Millisecond}, 0, 0},
		{"small, a flood of permissions", 5, map[occasion]time.Duration{permission: 10 * time.Millisecond}, 100, 500 * time.Millisecond},
		{"small, a flood of news", 5, map[occasion]time.Duration{news: 10 * time.Millisecond, permission: 3 * time.Second}, 0, 0},
	} {
		writes, waits := arrivals(test.members, test.each)
		if n := most(writes, time.Second); test.members > small && n > writesASecond {
			t.Errorf("%s: %d writes within a second", test.name, n)
		}
		for _, n := range []int{1, 2, 5, 10, 30} {
			if got := most(writes, time.Duration(n)*time.Second); got > writesASecond*n+burst(test.members) {
				t.Errorf("%s: %d writes within %d s", test.name, got, n)
			}
		}
		late := 0
		for _, wait := range waits {
			if wait > 0 {
				late++
			}
			if wait > test.longest {
				t.Errorf("%s: a permission waited %s", test.name, wait)
			}
		}
		if late*100 > test.late*len(waits) {
			t.Errorf("%s: %d of %d permissions waited", test.name, late, len(waits))
		}
		for i, at := range writes {
			if i >= 1 && at.Sub(writes[i-1]) > 1200*time.Millisecond {
				t.Errorf("%s: a change waited %s", test.name, at.Sub(writes[i-1]))
			}
		}
		if len(writes) < 50 {
			t.Errorf("%s: %d writes in a minute", test.name, len(writes))
		}
	}
}

// TestPaceOfManyCourses holds the bounds for changes that come at random, with
// a clock that is set back once.
func TestPaceOfManyCourses(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a course that can be repeated
		members := []int{1, small, small + 1, 5000}[random.IntN(4)]
		var p pace
		var writes []time.Time
		now := time.Unix(1_800_000_000, 0)
		for i := range 3000 {
			now = now.Add(time.Duration(random.IntN(60)) * time.Millisecond)
			if i == 1500 {
				now = now.Add(-time.Hour)
				if rest := p.rest(now, permission, members); rest != 0 {
					t.Fatalf("seed %d: after the clock was set back a permission waits %s", seed, rest)
				}
				writes = nil
			}
			rest := p.rest(now, occasion(random.IntN(3)), members) //nolint:gosec // three occasions
			if rest < 0 || rest > time.Second {
				t.Fatalf("seed %d: a change is to wait %s", seed, rest)
			}
			if rest == 0 {
				writes = append(writes, now)
				p.wrote(now)
			}
		}
		if n := most(writes, time.Second); members > small && n > writesASecond {
			t.Errorf("seed %d: %d writes of %d Applications within a second", seed, n, members)
		}
		if n := most(writes, 10*time.Second); n > 10*writesASecond+burst(members) {
			t.Errorf("seed %d: %d writes within ten seconds", seed, n)
		}
	}
}

// TestPaceCollects writes what nobody waits for once it has been collected, and
// at once when somebody does.
func TestPaceCollects(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1_800_000_000, 0)
	for _, step := range []struct {
		after   time.Duration
		why     occasion
		members int
		want    time.Duration
		write   bool
	}{
		{0, information, 5000, collect, false},
		{200 * time.Millisecond, news, 5000, 0, true},
		{0, permission, 5000, 0, true},
		{300 * time.Millisecond, permission, 5000, 700 * time.Millisecond, false},
		{0, news, 5, 700 * time.Millisecond, false},
		{0, permission, 5, 0, true},
		{0, information, 5, time.Second, false},
	} {
		now = now.Add(step.after)
		if got := p.rest(now, step.why, step.members); got != step.want {
			t.Errorf("occasion %d of %d Applications at %s waits %s, want %s", step.why, step.members, now, got, step.want)
		}
		if step.write {
			p.wrote(now)
		}
	}
}

// TestWeigh: what an Application waits for is a permission, what people read
// is news, all else information.
func TestWeigh(t *testing.T) {
	t.Parallel()
	entry := func(name, status, reason string, attempt int32) v1alpha1.ApplicationSetAppStatus {
		return v1alpha1.ApplicationSetAppStatus{Application: name, Status: status, Reason: reason, Attempt: attempt}
	}
	status := func(id int64, step int32, phase string, entries ...v1alpha1.ApplicationSetAppStatus) v1alpha1.ApplicationSetStatus {
		return v1alpha1.ApplicationSetStatus{ApplicationStatus: entries, Rollout: &v1alpha1.RolloutStatus{ID: id, CurrentStep: step, Phase: phase}}
	}
	waiting, pending := entry("a", rollout.Waiting, "", 0), entry("a", rollout.Pending, "", 1)
	for name, test := range map[string]struct {
		old, next v1alpha1.ApplicationSetStatus
		decision  rollout.Decision
		want      occasion
	}{
		"nothing":             {v1alpha1.ApplicationSetStatus{}, v1alpha1.ApplicationSetStatus{}, rollout.Decision{}, information},
		"conditions only":     {status(1, 1, "Progressing", waiting), status(1, 1, "Progressing", waiting), rollout.Decision{}, information},
		"it progresses":       {status(1, 1, "Progressing", pending), status(1, 1, "Progressing", entry("a", rollout.Progressing, "", 1)), rollout.Decision{}, information},
		"still admitted":      {status(1, 1, "Progressing", pending), status(1, 1, "Progressing", pending, entry("b", rollout.Waiting, "", 0)), rollout.Decision{}, information},
		"admission":           {status(1, 1, "Progressing", waiting), status(1, 1, "Progressing", pending), rollout.Decision{}, permission},
		"another is admitted": {status(1, 1, "Progressing", pending), status(1, 1, "Progressing", pending, entry("b", rollout.Pending, "", 1)), rollout.Decision{}, permission},
		"another attempt":     {status(1, 1, "Progressing", pending), status(1, 1, "Progressing", entry("a", rollout.Pending, "", 2)), rollout.Decision{}, permission},
		"it is to be healed":  {status(1, 0, "Completed", entry("a", rollout.Healthy, "", 1)), status(1, 0, "Completed", entry("a", rollout.Healthy, rollout.ReasonSelfHealing, 2)), rollout.Decision{}, permission},
		"the next step":       {status(1, 1, "Progressing", waiting), status(1, 2, "Progressing", waiting), rollout.Decision{}, permission},
		"another rollout":     {status(1, 1, "Progressing"), status(2, 1, "Progressing"), rollout.Decision{}, permission},
		"the first rollout":   {v1alpha1.ApplicationSetStatus{}, status(1, 1, "Progressing"), rollout.Decision{}, permission},
		"a refresh":           {status(1, 1, "Progressing"), status(1, 1, "Progressing"), rollout.Decision{Refreshes: []string{"a"}}, permission},
		"an event":            {status(1, 1, "Progressing"), status(1, 1, "Progressing"), rollout.Decision{Events: []rollout.Event{{Reason: "RolloutStalled"}}}, news},
		"a pause":             {status(1, 1, "Progressing"), status(1, 1, "Paused"), rollout.Decision{}, news},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := weigh(&test.old, &test.next, test.decision); got != test.want {
				t.Errorf("occasion %d, want %d", got, test.want)
			}
		})
	}
}

func BenchmarkWeigh(b *testing.B) {
	status := v1alpha1.ApplicationSetStatus{}
	for i := range 2000 {
		status.ApplicationStatus = append(status.ApplicationStatus, v1alpha1.ApplicationSetAppStatus{Application: fmt.Sprint("payment-service-eu-west-", i), Status: rollout.Waiting})
	}
	for b.Loop() {
		if weigh(&status, &status, rollout.Decision{}) != information {
			b.Fatal("nothing changed")
		}
	}
}
