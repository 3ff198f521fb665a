return by(status.state, {ready = healthy, initializing = progressing, error = degraded, paused = unknown, stopping = degraded}, status.message ~= "" and status.message or status.state)
