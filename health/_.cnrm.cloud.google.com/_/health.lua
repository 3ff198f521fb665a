if obj.kind == "ConfigConnector" or obj.kind == "ConfigConnectorContext" then
  if status.healthy == true then return healthy() end
  if status.healthy == false then
    local faults = {}
    for _, e in items(status.errors) do faults[#faults + 1] = e end
    return degraded(table.concat(faults, ", "))
  end
  return waiting()
end
if stale() then return waiting("the newest generation to be observed") end
local c = condition("Ready")
if c.reason == "UpToDate" and c.status == "True" then return healthy(c.message) end
if c.reason == "UpdateFailed" or c.reason == "DependencyNotFound" then return degraded(words(c)) end
if c.reason == "DependencyNotReady" then return suspended(words(c)) end
if c.reason ~= nil then return progressing(words(c)) end
return waiting()
