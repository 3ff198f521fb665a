return ready("Deployed")
