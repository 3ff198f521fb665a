local c = condition("Available")
if c.status == nil then return waiting() end
if c.status == "True" then return healthy(c.message) end
if c.reason == "SomePodsNotReady" then return progressing(words(c)) end
return degraded(words(c))
