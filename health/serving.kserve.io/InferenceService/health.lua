if is("Stopped") then return suspended(words(condition("Stopped"))) end
if no_conditions() then return waiting() end
local fault
for _, c in items(status.conditions) do
  if c.type ~= "Stopped" and (c.status == "False" or c.status == "Unknown") then fault = fault or c end
end
local transition = (status.modelStatus or {}).transitionStatus
if transition == "BlockedByFailedLoad" or transition == "InvalidSpec" then
  return degraded(((status.modelStatus or {}).lastFailureInfo or {}).message or transition)
end
if fault == nil and (transition == nil or transition == "UpToDate") then return healthy() end
return progressing(fault and words(fault) or transition)
