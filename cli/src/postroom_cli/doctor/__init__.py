"""`postroom doctor`: what is wrong with DNS, listeners, certificates and services, and what to do about it."""
