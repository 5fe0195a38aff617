"""How windowshop is put on machines: promises nothing to the services and is imported by none of them."""
