local s = status.status
if s == "SUCCESS" then return healthy(s) end
if s ~= nil and string.sub(s, 1, 5) == "ERROR" then return degraded(s) end
return waiting()
