"""REST in front of the services: one table of routes, JSON to protobuf and back; knows no rule of the shop."""
