local base = ready_current()
if base.status ~= "Healthy" then return base end
for _, e in items(status.environments) do
  local active, proposed = ((e.active or {}).dry or {}).sha, ((e.proposed or {}).dry or {}).sha
  if active ~= nil and proposed ~= nil and active ~= proposed then return progressing("Promotion to " .. tostring(e.branch) .. " is open") end
end
return healthy(base.message)
