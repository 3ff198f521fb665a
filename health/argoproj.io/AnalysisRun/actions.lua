local done = {Successful = true, Failed = true, Error = true, Inconclusive = true}
return actions{terminate = {disabled = spec.terminate == true or done[status.phase] == true, run = function() set("terminate", true) end}}
