local state = (status.applicationState or {}).state
local message = (status.applicationState or {}).errorMessage
if state == "RUNNING" then
  local running = 0
  for _, s in pairs(status.executorState or {}) do if s == "RUNNING" then running = running + 1 end end
  local dynamic = spec.dynamicAllocation or {}
  local low, high = number((spec.executor or {}).instances), number((spec.executor or {}).instances)
  if dynamic.enabled == true then low, high = number(dynamic.minExecutors), number(dynamic.maxExecutors) end
  local text = running .. " executors are running"
  if low <= running and running <= high then return healthy(text) end
  return progressing(text)
end
return by(state, {COMPLETED = healthy, FAILED = degraded, SUBMISSION_FAILED = degraded, FAILING = degraded, INVALIDATING = missing}, message ~= "" and message or nil)
