return by(status.phase, {Ready = healthy, Connected = healthy, Failure = degraded, Failed = degraded})
