local c = condition("Ready")
if c.status == nil then return waiting() end
if c.status == "True" then return healthy(c.message) end
return degraded(words(c))
