if status.health == nil then return waiting() end
return colour(status.health)
