return operator()
