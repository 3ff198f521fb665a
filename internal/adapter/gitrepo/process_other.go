//go:build !linux

package gitrepo

import "os/exec"

// bindToParent does nothing here: only git itself ends with its context.
func bindToParent(*exec.Cmd) {}

// limitProcess does nothing here: only the disk budget bounds a fetch.
func limitProcess(int, int64, int64) {}
