if no_conditions() then return waiting() end
local fault, busy
for _, name in ipairs({"Ready", "InstallSucceeded", "DependenciesInstalled", "DeploymentsAvailable"}) do
  local c = condition(name)
  if c.status ~= "True" then
    local later = c.status ~= "False" or name == "Ready" or name == "DeploymentsAvailable"
    if later then busy = busy or c else fault = fault or c end
  end
end
if fault then return degraded(words(fault)) end
if busy then return progressing(words(busy)) end
return healthy()
