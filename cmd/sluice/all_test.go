package main

import (
	"strings"
	"testing"
	"time"
)

// parsed is what a command line gives.
func parsed(arguments ...string) (progressive bool, safety time.Duration, err error) {
	c := allCommand()
	if err := c.ParseFlags(arguments); err != nil {
		return false, 0, err
	}
	if progressive, err = c.Flags().GetBool("enable-progressive-syncs"); err != nil {
		return false, 0, err
	}
	if safety, err = c.Flags().GetDuration("applicationset-controller-requeue-after"); err != nil {
		return false, 0, err
	}
	return progressive, safety, (&allFlags{safety: safety, maxPackMiB: 1, gitMemoryMiB: 64, internal: internalFlags{address: "0"}}).validate()
}

// TestA10GateGivenTwice: the article's patch appends the flag without a look
// at what is there.
func TestA10GateGivenTwice(t *testing.T) {
	for _, c := range []struct {
		arguments []string
		want      bool
	}{
		{nil, true},
		{[]string{"--enable-progressive-syncs", "--enable-progressive-syncs"}, true},
		{[]string{"--enable-progressive-syncs=false", "--enable-progressive-syncs"}, true},
		{[]string{"--enable-progressive-syncs", "--enable-progressive-syncs=false"}, false},
	} {
		if got, _, err := parsed(c.arguments...); err != nil || got != c.want {
			t.Errorf("%v: %v, %v; want %v", c.arguments, got, err, c.want)
		}
	}
}

func TestA11RequeueAfter(t *testing.T) {
	const flag = "--applicationset-controller-requeue-after"
	for value, want := range map[string]time.Duration{"30s": 30 * time.Second, "0": 0, "24h": 24 * time.Hour} {
		if _, got, err := parsed(flag + "=" + value); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", value, got, err, want)
		}
	}
	if _, got, err := parsed(); err != nil || got != 10*time.Second {
		t.Errorf("without the flag: %s, %v; want 10s", got, err)
	}
	for _, value := range []string{"abc", "", "30", "-1s", "10ms", "25h"} {
		if _, _, err := parsed(flag + "=" + value); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%q: error %v does not name the flag", value, err)
		}
	}
}
