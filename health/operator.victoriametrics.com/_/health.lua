return by(status.updateStatus, {operational = healthy, expanding = progressing, paused = suspended, failed = degraded}, status.reason)
