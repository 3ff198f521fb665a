return by(status.phase, {RUNNING = healthy, PROVISIONING = progressing, FAILED = degraded, ERROR = degraded})
