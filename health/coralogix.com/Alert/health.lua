return ready("RemoteSynced")
