if status.stageStatus == "failed" then return degraded(status.lastMessage) end
if status.stage == "complete" and status.stageStatus == "success" then return healthy() end
if status.stage == nil then return waiting() end
return progressing("stage " .. status.stage)
