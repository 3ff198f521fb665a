local seen = false
for _, i in items(status.ingress) do
  local c = find(i.conditions, "Admitted")
  if c.status == "False" then return degraded(words(c)) end
  if c.status ~= "True" then return waiting() end
  seen = true
end
if seen then return healthy("Every router admits the route") end
return waiting()
