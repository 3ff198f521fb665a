return actions{
  ["toggle-auto-sync"] = function()
    local policy = spec.syncPolicy or {}
    if policy.automated == nil then
      policy.automated = {enabled = true}
    else
      policy.automated.enabled = policy.automated.enabled == false
    end
    set("syncPolicy", policy)
  end,
}
