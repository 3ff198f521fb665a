return solo()
