# Whoever runs `reconciler apply`, `suspend`, `resume`, `rollback`, `adopt`, `scale`, `drain`, `hosts forget`, `store init` by hand.
key_prefix "config/"           { policy = "write" }
key_prefix "state/"            { policy = "list" }
key_prefix "state/overrides/"  { policy = "write" }
key_prefix "state/sync/"       { policy = "write" }
key_prefix "state/provenance/" { policy = "write" }
key_prefix "state/reports/"    { policy = "write" }
key_prefix "state/wake/"       { policy = "write" }
key_prefix "state/hosts/"      { policy = "write" }
key_prefix "state/status/"     { policy = "write" }
key        "state/.store"      { policy = "write" }
key_prefix "schedulers/"       { policy = "list" }
key_prefix "sync/"             { policy = "write" }

# `apply` takes a lock while it writes
session_prefix ""              { policy = "write" }
service "reconciler"           { policy = "write" }
