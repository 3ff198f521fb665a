if spec.paused == true then return suspended("BroadcastJob is paused") end
return by(status.phase, {completed = healthy, running = progressing, failed = degraded, paused = suspended}, nil, unknown)
