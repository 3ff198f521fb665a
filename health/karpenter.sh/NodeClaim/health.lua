if stale() then return waiting("the newest generation to be observed") end
local c = condition("Ready")
if c.observedGeneration ~= nil and c.observedGeneration < (metadata.generation or 0) then return waiting("the newest generation to be observed") end
if is("Disrupting") then return suspended(words(condition("Disrupting"))) end
return ready()
