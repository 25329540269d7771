//! The commands about the connection and about the cluster, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { CONNECTION: Connection [CONNECTION]
    "auth"                -2 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] Local(Local::Auth),        "1.0.0" "Authenticate to the server";
    "client"              -2 [@]                                [] Local(Local::Client),      "2.4.0" "A container for client connection commands";
    "client|caching"       3 [NOSCRIPT LOADING STALE]           [] Session(Session::Tracking), "6.0.0" "Instruct the server about tracking or not keys in the next request";
    "client|getname"       2 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "2.6.9" "Get the current connection name";
    "client|getredir"      2 [NOSCRIPT LOADING STALE]           [] Session(Session::Tracking), "6.0.0" "Get tracking notifications redirection client ID if any";
    "client|help"          2 [LOADING STALE]                    [] Local(Local::Client),               "5.0.0" "Show helpful text about the different subcommands";
    "client|id"            2 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "5.0.0" "Returns the client ID for the current connection";
    "client|info"          2 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "6.2.0" "Returns information about the current client connection";
    "client|kill"         -3 [ADMIN NOSCRIPT LOADING STALE]     [] Local(Local::Client),      "2.4.0" "Kill the connection of a client";
    "client|list"         -2 [ADMIN NOSCRIPT LOADING STALE]     [] Local(Local::Client),      "2.4.0" "Get the list of client connections";
    "client|no-evict"      3 [ADMIN NOSCRIPT LOADING STALE]     [] Local(Local::Client),      "7.0.0" "Set client eviction mode for the current connection";
    "client|no-touch"      3 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "7.2.0" "Set whether commands of the client alter the LRU or LFU of keys";
    "client|pause"        -3 [ADMIN NOSCRIPT LOADING STALE]     [] Local(Local::Administer),    "2.9.50" "Stop processing commands from clients for some time";
    "client|reply"         3 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "3.2.0" "Instruct the server whether to reply to commands";
    "client|setinfo"       4 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "7.2.0" "Set the name or version of the client library";
    "client|setname"       3 [NOSCRIPT LOADING STALE]           [] Local(Local::Client),      "2.6.9" "Set the current connection name";
    "client|tracking"     -3 [NOSCRIPT LOADING STALE]           [] Session(Session::Tracking), "6.0.0" "Enable or disable server assisted client side caching support";
    "client|trackinginfo"  2 [NOSCRIPT LOADING STALE]           [] Session(Session::Tracking), "6.2.0" "Return information about server assisted client side caching for the current connection";
    "client|unblock"      -3 [ADMIN NOSCRIPT LOADING STALE]     [] Local(Local::Client),      "5.0.0" "Unblock a client blocked in a blocking command from a different connection";
    "client|unpause"       2 [ADMIN NOSCRIPT LOADING STALE]     [] Local(Local::Administer),    "6.2.0" "Resume processing of clients that were paused";
    "echo"                 2 [LOADING STALE FAST]               [] Local(Local::Echo),        "1.0.0" "Echo the given string";
    "hello"               -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] Local(Local::Hello),       "6.0.0" "Handshake with Redis";
    "ping"                -1 [FAST]                             [] Local(Local::Ping),        "1.0.0" "Ping the server";
    "quit"                -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] Local(Local::Quit),        "1.0.0" "Close the connection";
    "reset"                1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] Local(Local::Reset),       "6.2.0" "Reset the connection";
    "select"               2 [LOADING STALE FAST]               [] Local(Local::Select),      "1.0.0" "Change the selected database for the current connection";
}

commands! { CLUSTER: Cluster []
    "asking"                         1 [FAST @ CONNECTION]               [] Local(Local::Readonly), "3.0.0" "Sent by cluster clients after an -ASK redirect";
    "cluster"                       -2 []                                [] Refuse(TOPOLOGY),       "3.0.0" "A container for cluster commands";
    "cluster|addslots"              -3 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Assign new hash slots to receiving node";
    "cluster|addslotsrange"         -4 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "7.0.0" "Assign new hash slots to receiving node";
    "cluster|bumpepoch"              2 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Advance the cluster config epoch";
    "cluster|count-failure-reports"  3 [ADMIN STALE]                     [] Refuse(TOPOLOGY),       "3.0.0" "Return the number of failure reports active for a given node";
    "cluster|countkeysinslot"        3 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Return the number of local keys in the specified hash slot";
    "cluster|delslots"              -3 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Set hash slots as unbound in receiving node";
    "cluster|delslotsrange"         -4 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "7.0.0" "Set hash slots as unbound in receiving node";
    "cluster|failover"              -2 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Forces a replica to perform a manual failover of its master";
    "cluster|flushslots"             2 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Delete a node's own slots information";
    "cluster|forget"                 3 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Remove a node from the nodes table";
    "cluster|getkeysinslot"          4 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Return local key names in the specified hash slot";
    "cluster|help"                   2 [LOADING STALE]                   [] Local(Local::Cluster),  "5.0.0" "Show helpful text about the different subcommands";
    "cluster|info"                   2 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Provides info about Redis Cluster node state";
    "cluster|keyslot"                3 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Returns the hash slot of the specified key";
    "cluster|links"                  2 [STALE]                           [] Local(Local::Cluster),  "7.0.0" "Returns a list of all TCP links to and from peer nodes in cluster";
    "cluster|meet"                  -4 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Force a node cluster to handshake with another node";
    "cluster|myid"                   2 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Return the node id";
    "cluster|myshardid"              2 [STALE]                           [] Local(Local::Cluster),  "7.2.0" "Return the shard id";
    "cluster|nodes"                  2 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Get Cluster config for the node";
    "cluster|replicas"               3 [ADMIN STALE]                     [] Local(Local::Cluster),  "5.0.0" "List replica nodes of the specified master node";
    "cluster|replicate"              3 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Reconfigure a node as a replica of the specified master node";
    "cluster|reset"                 -2 [ADMIN NOSCRIPT STALE]            [] Refuse(TOPOLOGY),       "3.0.0" "Reset a Redis Cluster node";
    "cluster|saveconfig"             2 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Forces the node to save cluster state on disk";
    "cluster|set-config-epoch"       3 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Set the configuration epoch in a new node";
    "cluster|setslot"               -4 [ADMIN STALE NO_ASYNC_LOADING]    [] Refuse(TOPOLOGY),       "3.0.0" "Bind a hash slot to a specific node";
    "cluster|shards"                 2 [STALE]                           [] Local(Local::Cluster),  "7.0.0" "Get array of cluster slots to node mappings";
    "cluster|slaves"                 3 [ADMIN STALE]                     [] Local(Local::Cluster),  "3.0.0" "List replica nodes of the specified master node";
    "cluster|slots"                  2 [STALE]                           [] Local(Local::Cluster),  "3.0.0" "Get array of Cluster slot to node mappings";
    "readonly"                       1 [LOADING STALE FAST @ CONNECTION] [] Local(Local::Readonly), "3.0.0" "Enables read queries for a connection to a cluster replica node";
    "readwrite"                      1 [LOADING STALE FAST @ CONNECTION] [] Local(Local::Readonly), "3.0.0" "Disables read queries for a connection to a cluster replica node";
}
