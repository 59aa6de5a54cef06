"""Models: the one list of weights, where each is found and fetched, and sessions that run them."""
