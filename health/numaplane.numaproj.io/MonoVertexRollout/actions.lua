return actions(numa({"spec", "monoVertex"}, {}))
