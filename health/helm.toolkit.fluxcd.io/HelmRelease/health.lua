if spec.suspend == true then return suspended("Reconciliation is suspended") end
if no_conditions() then return waiting() end
local r = condition("Ready")
if r.status == "Unknown" and is("Reconciling") then return progressing(words(r)) end
local good = 0
for _, name in ipairs({"Ready", "Released", "TestSuccess"}) do
  if is(name) then good = good + 1 end
end
if r.status == "True" and good >= 2 then return healthy(r.message) end
return degraded(words(r))
