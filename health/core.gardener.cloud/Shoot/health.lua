local s = (metadata.labels or {})["shoot.gardener.cloud/status"]
return by(s, {healthy = healthy, progressing = progressing, unhealthy = degraded, unknown = unknown}, (status.lastOperation or {}).description)
