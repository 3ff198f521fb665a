local c = condition("Promoted")
local states = {Failed = degraded, Progressing = progressing, Finalising = progressing, Promoting = progressing, Succeeded = healthy, Initialized = healthy}
return by(status.phase, states, c.message or status.phase, unknown)
