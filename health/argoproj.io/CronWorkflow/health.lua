for _, name in ipairs({"SpecError", "SubmissionError"}) do
  if is(name) then return degraded(words(condition(name))) end
end
return healthy("The schedule is active")
