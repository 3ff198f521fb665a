package application

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// unexpected turns a panic into an error, with its stack in the log: what one
// object of one Application brings about must end neither the work at others nor
// the process. Goroutines have to ask for it themselves.
func unexpected(log *slog.Logger, what string, err *error) {
	if p := recover(); p != nil {
		if log != nil {
			log.Error("failed unexpectedly", "at", what, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		*err = fmt.Errorf("%s failed unexpectedly: %v", what, p)
	}
}
