if status.expectedMachines == nil and status.currentHealthy == nil then return waiting() end
local want, good = number(status.expectedMachines), number(status.currentHealthy)
local text = good .. " of " .. want .. " machines are healthy"
if want == good then return healthy(text) end
return degraded(text)
