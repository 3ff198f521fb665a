return actions{["force-promote"] = force_promote()}
