local c = condition("Valid")
if c.observedGeneration ~= nil and c.observedGeneration ~= metadata.generation then return waiting("the newest generation to be observed") end
if c.status == "True" then return healthy(c.message) end
if c.status == "False" then
  if obj.kind == "HTTPProxy" and type(spec.includes) == "table" and next(spec.includes) ~= nil then return healthy(words(c)) end
  return degraded(words(c))
end
return waiting()
