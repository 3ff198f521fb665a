local base = ready_current()
if base.status ~= "Healthy" then return base end
return by(status.state, {merged = healthy, closed = healthy, open = healthy}, "The pull request is " .. tostring(status.state))
