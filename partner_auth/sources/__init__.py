"""The stores that a credential can come from, and the protocol for one of your own."""
