return actions{refresh = force_sync()}
