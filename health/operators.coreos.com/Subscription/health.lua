for _, name in ipairs({"CatalogSourcesUnhealthy", "InstallPlanMissing", "InstallPlanFailed", "ResolutionFailed", "BundleUnpackFailed"}) do
  if is(name) then return degraded(words(condition(name))) end
end
if status.state == "UpgradeFailed" then return degraded(status.state) end
if status.state == nil then return waiting() end
local pending = is("InstallPlanPending") or status.state == "UpgradePending"
if pending and spec.installPlanApproval == "Manual" and status.installedCSV ~= nil then return healthy("An upgrade waits for approval") end
if pending then return progressing(status.state) end
return healthy(status.state)
