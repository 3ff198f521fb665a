local list = {
  ["create-job"] = function()
    local template = spec.jobTemplate or {}
    local meta = template.metadata or {}
    local annotations = meta.annotations or {}
    annotations["cronjob.kubernetes.io/instantiate"] = "manual"
    return {{operation = "create", resource = {
      apiVersion = "batch/v1", kind = "Job", spec = template.spec,
      metadata = {
        name = metadata.name .. "-" .. stamp(), namespace = metadata.namespace,
        labels = meta.labels, annotations = annotations, ownerReferences = {owner()},
      },
    }}}
  end,
}
if spec.suspend == true then
  list.resume = function() set("suspend", false) end
else
  list.suspend = function() set("suspend", true) end
end
return actions(list)
