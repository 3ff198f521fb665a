//go:build linux && !amd64

package worker

// oldCalls are forbidden calls that newer architectures no longer have.
var oldCalls []uintptr
