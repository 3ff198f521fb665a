return actions{push = force_sync()}
