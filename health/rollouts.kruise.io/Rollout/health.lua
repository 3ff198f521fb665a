if stale() then return waiting("the newest generation to be observed") end
local strategy = spec.strategy or {}
if strategy.paused == true then return suspended("Rollout is paused") end
local step = (status.canaryStatus or status.blueGreenStatus or {}).currentStepState
if status.phase == "Progressing" and step == "StepPaused" then return suspended(status.message or "A step waits") end
return by(status.phase, {Healthy = healthy, Disabled = suspended, Terminating = progressing, Progressing = progressing, Initial = progressing}, status.message, degraded)
