if no_conditions() and status.created == nil then return waiting() end
if is("Paused") then return suspended(words(condition("Paused"))) end
local r = condition("Ready")
if r.status == "True" then return healthy("Running") end
if status.created == true then return progressing(words(r) ~= "" and words(r) or "Starting") end
return suspended("Stopped")
