-- One that never synced waits for its store: it is not broken.
local c = condition("Ready")
if c.status == "False" and (status.refreshTime == nil or status.refreshTime == "") then return progressing(words(c)) end
return ready()
