"""How a domain is searched: templates of persons, plans that say which way to go, and the tuning that makes them."""
