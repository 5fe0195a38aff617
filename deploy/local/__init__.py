"""Promises a whole windowshop on this machine from wheels alone; knows processes, never a service's insides."""
