local issuing = condition("Issuing")
if issuing.status == "True" then return progressing(words(issuing)) end
return ready()
