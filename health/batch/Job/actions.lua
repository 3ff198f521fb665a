for _, c in ipairs(status.conditions or {}) do
  if (c.type == "Complete" or c.type == "Failed") and c.status == "True" then return actions{} end
end
local list = {
  terminate = function()
    local conditions = status.conditions or {}
    conditions[#conditions + 1] = {
      type = "FailureTarget", status = "True", reason = "TerminatedByUser", message = "Terminated by an action",
      lastProbeTime = now(), lastTransitionTime = now(),
    }
    report("conditions", conditions)
  end,
}
if spec.suspend == true then
  list.resume = function() set("suspend", false) end
else
  list.suspend = function() set("suspend", true) end
end
return actions(list)
