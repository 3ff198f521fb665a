package main

import "testing"

func TestGarbage(t *testing.T) {
	for live, want := range map[uint64]int{
		0: garbagePercent, 1 << 20: 1000, 32 << 20: 200, 64 << 20: 100, 128 << 20: 50, 1 << 30: garbagePercent,
	} {
		if got := garbage(live); got != want {
			t.Errorf("%d MiB in use: %d%%, want %d%%", live>>20, got, want)
		}
	}
}
