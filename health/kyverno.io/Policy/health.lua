local c = condition("Ready")
if c.status == "True" and (c.reason == nil or c.reason == "" or c.reason == "Succeeded" or c.reason == "Ready") then return healthy(c.message) end
if c.status ~= nil then return progressing(words(c)) end
return waiting()
