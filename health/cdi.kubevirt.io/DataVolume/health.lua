return by(status.phase, {Succeeded = healthy, Failed = degraded, Unknown = degraded, Paused = suspended})
