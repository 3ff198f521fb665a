return by(status.status, {Completed = healthy, InProgress = progressing}, nil, degraded)
