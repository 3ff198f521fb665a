return actions(numa({}, {["force-promote"] = force_promote()}))
