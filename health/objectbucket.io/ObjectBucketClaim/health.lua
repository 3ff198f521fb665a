return by(status.phase, {Bound = healthy, Failed = degraded})
