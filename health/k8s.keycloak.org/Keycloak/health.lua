if no_conditions() then return waiting() end
-- The newest change wins when both are true.
local r, e = condition("Ready"), condition("HasErrors")
local newer = (e.lastTransitionTime or "") >= (r.lastTransitionTime or "")
if e.status == "True" and (r.status ~= "True" or newer) then return degraded(words(e)) end
if r.status == "True" then return healthy(r.message) end
return progressing(words(r))
