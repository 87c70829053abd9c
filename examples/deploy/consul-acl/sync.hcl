# `reconciler sync`: writes what is desired, and how far it came.
key_prefix "config/"           { policy = "write" }
key_prefix "state/"            { policy = "list" }
key_prefix "state/sync/"       { policy = "write" }
key_prefix "state/provenance/" { policy = "write" }
key_prefix "state/reports/"    { policy = "write" }
key_prefix "state/wake/"       { policy = "write" }
# what an operator scaled or drained by hand ends in the transaction in which git changes that very field
key_prefix "state/overrides/services/" { policy = "write" }
key_prefix "state/overrides/hosts/"    { policy = "write" }
key_prefix "schedulers/"       { policy = "list" }
key_prefix "sync/"             { policy = "write" }

# the sentinels: a new store is marked by whoever starts first
key "state/.store"             { policy = "write" }

# its sign of life: a session bound to a service with a TTL check on the local Consul agent
session_prefix ""              { policy = "write" }
service "reconciler"           { policy = "write" }
