return rabbit()
