local c = condition("Complete")
if c.reason == "JobFailed" then return degraded(words(c)) end
if c.reason == "JobComplete" or c.status == "True" then return healthy(words(c)) end
if c.status ~= nil then return progressing(words(c)) end
return waiting()
