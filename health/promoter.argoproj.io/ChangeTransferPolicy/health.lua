local base = ready_current()
if base.status ~= "Healthy" then return base end
local active = (((status.active or {}).dry or {}).sha)
local proposed = (((status.proposed or {}).dry or {}).sha)
if active ~= nil and proposed ~= nil and active ~= proposed then return progressing("Promotion of " .. string.sub(proposed, 1, 7) .. " is open") end
for _, c in items((status.active or {}).commitStatuses) do
  if c.phase == "failure" then return degraded("Check " .. tostring(c.key) .. " failed") end
  if c.phase == "pending" then return progressing("Check " .. tostring(c.key) .. " is pending") end
end
return healthy(base.message)
