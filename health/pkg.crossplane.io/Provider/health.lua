if no_conditions() then return waiting() end
local i, h = condition("Installed"), condition("Healthy")
if i.status == "True" and h.status == "True" then return healthy(words(h)) end
if i.status ~= "True" then return degraded(words(i)) end
return degraded(words(h))
