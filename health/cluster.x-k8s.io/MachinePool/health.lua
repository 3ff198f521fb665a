return by(status.phase, {Running = healthy, Scaling = healthy, ScalingUp = healthy, ScalingDown = healthy, Failed = degraded, Unknown = degraded})
