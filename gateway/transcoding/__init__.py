"""JSON and HTTP parameters to protobuf messages and back, compiled from the descriptors; knows no route."""
