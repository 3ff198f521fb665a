return by(status.state, {ready = healthy, initializing = progressing, error = degraded, paused = suspended, stopping = progressing}, status.message ~= "" and status.message or status.state)
