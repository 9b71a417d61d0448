"""Answers of a pack to a large file, shard by shard, by workers here or on a cluster: `clinfit predict --executor`."""
