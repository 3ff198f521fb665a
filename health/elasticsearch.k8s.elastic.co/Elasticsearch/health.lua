if next(status) == nil then return waiting() end
local want = 0
for _, set in items(spec.nodeSets) do want = want + number(set.count) end
local phase = status.phase
if phase == "Invalid" then return degraded("The specification is invalid") end
if number(status.availableNodes) < want then return progressing(number(status.availableNodes) .. " of " .. want .. " nodes are available") end
if phase == "Ready" then return colour(status.health) end
return by(phase, {ApplyingChanges = progressing, MigratingData = progressing}, phase, unknown)
