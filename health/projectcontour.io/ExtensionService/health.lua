local c = condition("Valid")
if c.observedGeneration ~= nil and c.observedGeneration ~= metadata.generation then return waiting("the newest generation to be observed") end
if c.status == "True" then return healthy(c.message) end
if c.status == "False" then
  return degraded(words(c))
end
return waiting()
