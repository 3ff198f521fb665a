local off = annotation("cnpg.io/reconciliationLoop") == "disabled"
return actions{
  restart = function() annotate("kubectl.kubernetes.io/restartedAt", now()) end,
  reload = function() annotate("cnpg.io/reloadedAt", now()) end,
  suspend = {disabled = off, run = function() annotate("cnpg.io/reconciliationLoop", "disabled") end},
  resume = {disabled = not off, run = function()
    if off then annotate("cnpg.io/reconciliationLoop", nil) end
  end},
  promote = {params = {{name = "instance"}}, disabled = (status.instances or 0) < 2, run = function()
    local wanted = actionParams.instance
    if wanted == nil or wanted == "" then error("parameter instance: want the name of an instance, or any", 0) end
    local healthy = (status.instancesStatus or {}).healthy or {}
    local chosen
    for _, name in ipairs(healthy) do
      if name ~= status.currentPrimary and (wanted == "any" or name == wanted) then
        chosen = name
        break
      end
    end
    if wanted == status.currentPrimary then error("parameter instance: " .. wanted .. " is the primary already", 0) end
    if chosen == nil then error("parameter instance: no healthy replica " .. wanted, 0) end
    report("targetPrimary", chosen)
    report("targetPrimaryTimestamp", now())
    report("phase", "Switchover in progress")
    report("phaseReason", "Switching over to " .. chosen)
  end},
}
