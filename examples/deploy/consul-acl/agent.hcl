# `reconciler agent`: says what its host has and what runs there, and registers tasks as services.
# With a token for each host, name the host: key "state/hosts/web-1", key "state/status/web-1"; and give it
# key "state/tasks/web-1/.agent", which spares a host without tasks most of its requests while others get theirs.
# It does not mark a new store: sync, a scheduler or `reconciler store init` comes first.
key_prefix "config/"       { policy = "list" }
key_prefix "state/"        { policy = "list" }
key_prefix "state/hosts/"  { policy = "write" }
key_prefix "state/status/" { policy = "write" }
key_prefix "schedulers/"   { policy = "list" }
key_prefix "sync/"         { policy = "list" }

# values of env_from and secrets in manifests; leave it out if there are none, or name a part of them
key_prefix "secrets/"      { policy = "list" }

# its sign of life, and the services and checks of the tasks (<cluster>-<service>)
session_prefix ""          { policy = "write" }
service_prefix ""          { policy = "write" }

# the name of the local Consul agent, and the health of its node
agent_prefix ""            { policy = "read" }
node_prefix ""             { policy = "read" }
