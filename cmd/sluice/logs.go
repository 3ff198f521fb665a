package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
)

// levelOf reads a level; names of other loggers count as the nearest of ours.
func levelOf(text string) (slog.Level, bool) {
	switch text = strings.ToLower(strings.TrimSpace(text)); text {
	case "trace":
		return slog.LevelDebug, true
	case "warning":
		return slog.LevelWarn, true
	case "fatal", "panic":
		return slog.LevelError, true
	}
	var level slog.Level
	return level, level.UnmarshalText([]byte(text)) == nil
}

// levelFrom takes the level of the log from a key of argocd-cmd-params-cm; a key
// that is not there leaves the level that the process began with.
func (f *allFlags) levelFrom(params map[string]string, key string) error {
	text := params[key]
	if text == "" {
		text = f.logLevel
	}
	level, ok := levelOf(text)
	if !ok {
		return fmt.Errorf("ConfigMap/%s: %s=%q: want debug, info, warn or error", settings.ParamsName, key, text)
	}
	f.level.Set(level)
	return nil
}
