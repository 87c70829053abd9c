# Whoever only looks: `reconciler status`, `tasks`, `hosts`, `plan`.
# "list" is "read" that also holds where acl.enable_key_list_policy is on.
key_prefix "config/"     { policy = "list" }
key_prefix "state/"      { policy = "list" }
key_prefix "schedulers/" { policy = "list" }
key_prefix "sync/"       { policy = "list" }
