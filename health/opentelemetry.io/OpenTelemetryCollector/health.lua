if spec.mode == "sidecar" then return healthy("A sidecar has no replicas of its own") end
local have, want = string.match((status.scale or {}).statusReplicas or "", "^(%d+)/(%d+)$")
if have == nil then return waiting() end
local text = have .. " of " .. want .. " replicas are ready"
if have == want and (want ~= "0" or spec.mode == "daemonset") then return healthy(text) end
if have == "0" then return degraded(text) end
return progressing(text)
