if spec.disabled == true then return healthy("The policy is disabled") end
if obj.kind == "Policy" and (type(status.placement) ~= "table" or next(status.placement) == nil) and status.compliant == nil and next(status) ~= nil then
  return healthy("The policy has no placement")
end
if status.compliant == nil then return waiting() end
if status.compliant == "Compliant" then return healthy(status.compliant) end
return degraded(status.compliant)
