return by((status.PostgresClusterStatus), {Running = healthy, Creating = progressing, Updating = progressing}, nil, degraded)
