if spec.paused == true then return suspended("AdvancedCronJob is paused") end
if status.lastScheduleTime == nil then return progressing("Waiting for the first schedule of the AdvancedCronJob") end
if type(status.active) == "table" and next(status.active) ~= nil then return progressing("A job is running") end
return healthy("The last job ended")
