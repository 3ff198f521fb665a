return actions{merge = {disabled = spec.state ~= "open", run = function() set("state", "merged") end}}
