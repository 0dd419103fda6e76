"""The lake of routing events: its tables, where it is kept, how shards land and how it is read."""
