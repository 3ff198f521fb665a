local c = condition("Accepted")
if c.observedGeneration ~= nil and c.observedGeneration ~= metadata.generation then return waiting("the newest generation to be observed") end
return ready("Accepted")
