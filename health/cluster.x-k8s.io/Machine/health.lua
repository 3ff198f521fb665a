return by(status.phase, {Running = healthy, Failed = degraded})
