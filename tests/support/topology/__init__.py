"""Redis as it stands in production: a primary that Sentinels watch, and a cluster. Real servers on loopback, to be
frozen, killed, failed over, cut off, filled with slots and emptied of them."""
