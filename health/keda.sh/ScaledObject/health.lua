local r, f = condition("Ready"), condition("Fallback")
if r.status == "False" then return degraded(words(r)) end
if f.status == "True" then return degraded(words(f)) end
if r.status == "True" then
  if is("Paused") then return suspended(words(condition("Paused"))) end
  return healthy(r.message)
end
return waiting()
