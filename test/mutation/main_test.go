package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestListIsCurrent requires that every mutation still applies to the planner,
// and that there are enough of them.
func TestListIsCurrent(t *testing.T) {
	raw, err := os.ReadFile("mutations.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(string(raw))
	if err != nil || len(all) < 24 {
		t.Fatalf("%d mutations: %v", len(all), err)
	}
	for _, m := range all {
		source, err := os.ReadFile(filepath.Join("../..", planner, m.file))
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := m.apply(string(source)); err != nil || changed == string(source) {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
