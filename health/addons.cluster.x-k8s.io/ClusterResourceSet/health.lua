return ready("ResourcesApplied")
