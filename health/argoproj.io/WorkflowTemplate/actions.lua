return actions{
  ["create-workflow"] = function()
    return {{operation = "create", resource = {
      apiVersion = obj.apiVersion, kind = "Workflow", spec = {workflowTemplateRef = {name = metadata.name}},
      metadata = {
        name = metadata.name .. "-" .. stamp(), namespace = metadata.namespace,
        labels = {["workflows.argoproj.io/workflow-template"] = metadata.name}, ownerReferences = {owner()},
      },
    }}}
  end,
}
