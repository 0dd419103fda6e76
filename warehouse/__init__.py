"""The lake of routing events: its nouns, where it lies, how shards land, how it is read."""
