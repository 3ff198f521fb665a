local paused = spec.paused == true or type(status.pauseConditions) == "table" and next(status.pauseConditions) ~= nil
local steps = (((spec.strategy or {}).canary) or {}).steps or {}
local index = status.currentStepIndex
local full = status.currentPodHash ~= nil and status.currentPodHash == status.stableRS
return actions{
  restart = function() set("restartAt", now()) end,
  pause = {disabled = paused, run = function() set("paused", true) end},
  resume = {disabled = not paused, run = function()
    if status.pauseConditions ~= nil then report("pauseConditions", nil) end
    if spec.paused ~= nil then set("paused", false) end
  end},
  abort = {disabled = status.abort == true or full, run = function() report("abort", true) end},
  retry = {disabled = status.abort ~= true, run = function() report("abort", false) end},
  ["promote-full"] = {disabled = status.promoteFull == true or full, run = function() report("promoteFull", true) end},
  ["skip-current-step"] = {disabled = index == nil or index >= #steps, run = function()
    if index == nil or index >= #steps then error("the rollout is not at a step", 0) end
    report("currentStepIndex", index + 1)
    if status.pauseConditions ~= nil then report("pauseConditions", nil) end
  end},
}
