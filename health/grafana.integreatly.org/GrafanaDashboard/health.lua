if no_conditions() then return waiting() end
local good
for _, c in items(status.conditions) do
  if c.status == "False" then return degraded(words(c)) end
  if c.status == "True" then good = c end
end
if good then return healthy(words(good)) end
return waiting()
