if spec.paused == true then return suspended("Cluster is paused") end
local r = condition("Ready")
if r.status == "False" then return degraded(words(r)) end
return by(status.phase, {Provisioned = healthy, Failed = degraded}, words(r) ~= "" and words(r) or status.phase)
