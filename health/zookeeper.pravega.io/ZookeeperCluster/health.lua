local faults = condition("Error")
if faults.status == "True" then return degraded(words(faults)) end
if is("Upgrading") then return progressing(words(condition("Upgrading"))) end
local c = condition("PodsReady")
if c.status == "True" then return healthy(c.message) end
if c.status ~= nil then return progressing(words(c)) end
return waiting()
