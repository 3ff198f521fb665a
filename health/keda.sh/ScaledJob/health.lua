local r = condition("Ready")
if r.status == "False" or r.status == "Unknown" then return degraded(words(r)) end
if r.status == "True" then
  if is("Paused") then return suspended(words(condition("Paused"))) end
  return healthy(r.message)
end
return waiting()
