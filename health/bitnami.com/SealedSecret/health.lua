return ready("Synced")
