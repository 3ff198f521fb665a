local judged = false
for _, a in items(status.ancestors) do
  for _, name in ipairs({"Accepted", "ResolvedRefs"}) do
    local c = find(a.conditions, name)
    if c.observedGeneration ~= nil and c.observedGeneration ~= metadata.generation then return waiting("the newest generation to be observed") end
    if c.status ~= nil and c.status ~= "True" then return degraded(words(c)) end
    judged = judged or name == "Accepted" and c.status == "True"
  end
end
if judged then return healthy() end
return waiting()
