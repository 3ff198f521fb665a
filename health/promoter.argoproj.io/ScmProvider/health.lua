return ready_current()
