"""The way from a request to a page: gather, decide, report. Knows ports and the domain; no driver, no protobuf."""
