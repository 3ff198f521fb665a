if no_conditions() then return waiting() end
local places = {status.conditions}
for _, l in items(status.listeners) do places[#places + 1] = l.conditions end
for _, conditions in ipairs(places) do
  for _, name in ipairs({"ResolvedRefs", "Accepted"}) do
    local c = find(conditions, name)
    if c.status == "False" then return degraded(words(c)) end
  end
  local c = find(conditions, "Programmed")
  if c.status ~= nil and c.status ~= "True" then return progressing(words(c)) end
end
return healthy(condition("Programmed").message)
