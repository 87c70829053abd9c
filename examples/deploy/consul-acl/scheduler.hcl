# `reconciler scheduler`: writes what is issued. Other schedulers need the same.
key_prefix "config/"         { policy = "list" }
key_prefix "state/"          { policy = "list" }
key_prefix "state/tasks/"    { policy = "write" }
key_prefix "state/clusters/" { policy = "write" }
key_prefix "state/rollouts/" { policy = "write" }
key        "state/placement" { policy = "write" }
# nothing is written there: but only who may write a key may have a transaction fail unless it is absent, as the
# emergency brake (`reconciler pause`) needs it
key_prefix "state/overrides/clusters/" { policy = "write" }
key_prefix "schedulers/"     { policy = "write" }
key_prefix "sync/"           { policy = "list" }

# the sentinels: a new store is marked by whoever starts first
key "config/.store"          { policy = "write" }
key "state/.store"           { policy = "write" }

# its sign of life: a session bound to a service with a TTL check on the local Consul agent
session_prefix ""            { policy = "write" }
service "reconciler"         { policy = "write" }
