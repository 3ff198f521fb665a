if no_conditions() then return waiting() end
if is("Ready") then return healthy(condition("Ready").message) end
for _, c in items(status.conditions) do
  if c.status == "False" and c.severity == "Error" then return degraded(words(c)) end
end
return progressing(words(condition("Ready")))
