return actions{
  ["create-workflow"] = function()
    local meta = spec.workflowMetadata or {}
    local annotations = meta.annotations or {}
    annotations["workflows.argoproj.io/scheduled-time"] = now()
    local labels = meta.labels or {}
    labels["workflows.argoproj.io/cron-workflow"] = metadata.name
    return {{operation = "create", resource = {
      apiVersion = obj.apiVersion, kind = "Workflow", spec = spec.workflowSpec,
      metadata = {name = metadata.name .. "-" .. stamp(), namespace = metadata.namespace, labels = labels, annotations = annotations, ownerReferences = {owner()}},
    }}}
  end,
}
