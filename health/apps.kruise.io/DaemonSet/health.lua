if next(status) == nil then return waiting() end
local want = number(status.desiredNumberScheduled)
return kruise(want, number(status.updatedNumberScheduled), number(status.numberAvailable))
