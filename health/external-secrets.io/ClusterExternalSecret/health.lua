-- The newest condition is the last one.
local last = {}
for _, c in items(status.conditions) do last = c end
if last.type == "Ready" and last.status == "True" then return healthy(last.message) end
if (last.type == "PartiallyReady" or last.type == "NotReady") and last.status == "True" then return degraded(words(last)) end
return waiting()
