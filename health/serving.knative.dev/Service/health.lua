local good = 0
for _, name in ipairs({"ConfigurationsReady", "RoutesReady", "Ready"}) do
  local c = condition(name)
  if c.status == "False" then return degraded(words(c)) end
  if c.status == "True" then good = good + 1 end
end
if good == 3 then return healthy() end
return waiting()
