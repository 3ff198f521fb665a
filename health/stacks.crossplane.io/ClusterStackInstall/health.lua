local c = find((status.conditionedStatus or {}).conditions, "Ready")
if c.status == "True" then return healthy(c.message) end
if c.status ~= nil then return progressing(words(c)) end
return waiting()
