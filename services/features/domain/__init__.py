"""What events and features mean, as pure functions over plain values; knows no store, no wire format and no clock."""
