"""What products and rankings are and how they are decided; pure: no driver, protobuf, clock or randomness."""
