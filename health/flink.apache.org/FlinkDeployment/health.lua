local manager = status.jobManagerDeploymentStatus
if manager == "ERROR" then return degraded(status.error or "The job manager failed") end
if status.reconciliationStatus ~= nil and status.reconciliationStatus.state == "DEPLOYED" then return healthy("DEPLOYED") end
if manager == nil and status.reconciliationStatus == nil then return waiting() end
return progressing(manager or status.reconciliationStatus.state)
