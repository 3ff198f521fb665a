if is("Error") then return degraded(words(condition("Error"))) end
if is("Valid", "False") then return degraded(words(condition("Valid"))) end
return healthy()
