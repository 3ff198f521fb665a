package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Garbage may gather up to garbagePercent of what is in use before it is
// collected, for most of the memory is live objects and the processor is
// mostly idle; a small process may always gather garbageSpare bytes, for
// collecting it more often costs much and saves little. GOGC wins.
const (
	garbagePercent = 50
	garbageSpare   = 64 << 20
	garbagePause   = time.Second
)

// garbage is the percentage for so many live bytes.
func garbage(live uint64) int {
	if live == 0 {
		return garbagePercent
	}
	return max(garbagePercent, int(min(garbageSpare*100/live, 1000)))
}

// paceGarbage keeps the percentage in step with what is in use, until ctx ends.
func paceGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(garbagePause)
	defer ticker.Stop()
	for now := 0; ; {
		metrics.Read(sample)
		if next := garbage(sample[0].Value.Uint64()); next != now {
			now = next
			debug.SetGCPercent(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
