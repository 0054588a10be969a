"""How near SR is to HR, by region."""
