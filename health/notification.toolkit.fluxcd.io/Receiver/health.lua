if spec.suspend == true then return suspended("The receiver is suspended") end
local c = condition("Ready")
if c.status == nil then return waiting() end
if c.status == "True" then return healthy(c.message) end
return degraded(words(c))
