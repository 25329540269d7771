//! Publish/subscribe, transactions and scripts, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { PUBSUB: Pubsub []
    "psubscribe"           -2 [PUBSUB NOSCRIPT LOADING STALE] []                Session(Session::Psubscribe), "2.0.0" "Listen for messages published to channels matching the given patterns";
    "publish"               3 [PUBSUB LOADING STALE FAST]     []                AnyNode,                   "2.0.0" "Post a message to a channel";
    "pubsub"               -2 []                              []                AnyNode,                   "2.8.0" "A container for Pub/Sub commands";
    "pubsub|channels"      -2 [PUBSUB LOADING STALE]          []                Fan(Fan::ConcatArrays),    "2.8.0" "List active channels";
    "pubsub|help"           2 [LOADING STALE]                 []                AnyNode,                   "6.2.0" "Show helpful text about the different subcommands";
    "pubsub|numpat"         2 [PUBSUB LOADING STALE]          []                Fan(Fan::Sum),             "2.8.0" "Get the count of unique patterns pattern subscriptions";
    "pubsub|numsub"        -2 [PUBSUB LOADING STALE]          []                Fan(Fan::PubsubNumsub),    "2.8.0" "Get the count of subscribers for channels";
    "pubsub|shardchannels" -2 [PUBSUB LOADING STALE]          []                Fan(Fan::ConcatArrays),    "7.0.0" "List active shard channels";
    "pubsub|shardnumsub"   -2 [PUBSUB LOADING STALE]          []                Fan(Fan::PubsubNumsub),    "7.0.0" "Get the count of subscribers for shard channels";
    "punsubscribe"         -1 [PUBSUB NOSCRIPT LOADING STALE] []                Session(Session::Punsubscribe), "2.0.0" "Stop listening for messages posted to channels matching the given patterns";
    "spublish"              3 [PUBSUB LOADING STALE FAST]     [at(1, NOT_KEY)]  Key,                       "7.0.0" "Post a message to a shard channel";
    "ssubscribe"           -2 [PUBSUB NOSCRIPT LOADING STALE] [all(1, NOT_KEY)] Session(Session::Ssubscribe), "7.0.0" "Listen for messages published to the given shard channels";
    "subscribe"            -2 [PUBSUB NOSCRIPT LOADING STALE] []                Session(Session::Subscribe), "2.0.0" "Listen for messages published to the given channels";
    "sunsubscribe"         -1 [PUBSUB NOSCRIPT LOADING STALE] [all(1, NOT_KEY)] Session(Session::Sunsubscribe), "7.0.0" "Stop listening for messages posted to the given shard channels";
    "unsubscribe"          -1 [PUBSUB NOSCRIPT LOADING STALE] []                Session(Session::Unsubscribe), "2.0.0" "Stop listening for messages posted to the given channels";
}

commands! { TRANSACTIONS: Transactions [TRANSACTION]
    "discard"  1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] []           Session(Session::Discard), "2.0.0" "Discard all commands issued after MULTI";
    "exec"     1 [NOSCRIPT LOADING STALE SKIP_SLOWLOG] []           Session(Session::Exec),    "1.2.0" "Execute all commands issued after MULTI";
    "multi"    1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] []           Session(Session::Multi),   "1.2.0" "Mark the start of a transaction block";
    "unwatch"  1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] []           Session(Session::Unwatch), "2.2.0" "Forget about all watched keys";
    "watch"   -2 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] [all(1, RO)] Session(Session::Watch),   "2.2.0" "Watch the given keys to determine execution of the MULTI/EXEC block";
}

commands! { SCRIPTING: Scripting [SCRIPTING]
    "eval"             -3 [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS] [counted(2, RW|ACCESS|UPDATE)] Key,                       "2.6.0" "Execute a Lua script server side";
    "eval_ro"          -3 [READONLY NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS] [counted(2, RO|ACCESS)]        Key,                       "7.0.0" "Execute a read-only Lua script server side";
    "evalsha"          -3 [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS] [counted(2, RW|ACCESS|UPDATE)] Key,                       "2.6.0" "Execute a Lua script server side";
    "evalsha_ro"       -3 [READONLY NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS] [counted(2, RO|ACCESS)]        Key,                       "7.0.0" "Execute a read-only Lua script server side";
    "fcall"            -3 [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS] [counted(2, RW|ACCESS|UPDATE)] Key,                       "7.0.0" "Invoke a function";
    "fcall_ro"         -3 [READONLY NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS] [counted(2, RO|ACCESS)]        Key,                       "7.0.0" "Invoke a read-only function";
    "function"         -2 [@]                                []                             AnyNode,                   "7.0.0" "A container for function commands";
    "function|delete"   3 [WRITE NOSCRIPT]                   []                             Fan(Fan::AllOk),           "7.0.0" "Delete a function by name";
    "function|dump"     2 [NOSCRIPT]                         []                             Fan(Fan::First),           "7.0.0" "Dump all functions into a serialized binary payload";
    "function|flush"   -2 [WRITE NOSCRIPT]                   []                             Fan(Fan::AllOk),           "7.0.0" "Deleting all functions";
    "function|help"     2 [LOADING STALE]                    []                             AnyNode,                   "7.0.0" "Show helpful text about the different subcommands";
    "function|kill"     2 [NOSCRIPT ALLOW_BUSY]              []                             Fan(Fan::AnyOk),           "7.0.0" "Kill the function currently in execution";
    "function|list"    -2 [NOSCRIPT]                         []                             Fan(Fan::First),           "7.0.0" "List information about all the functions";
    "function|load"    -3 [WRITE DENYOOM NOSCRIPT]           []                             Fan(Fan::AllOk),           "7.0.0" "Create a function with the given arguments (name, code, description)";
    "function|restore" -3 [WRITE DENYOOM NOSCRIPT]           []                             Fan(Fan::AllOk),           "7.0.0" "Restore all the functions on the given payload";
    "function|stats"    2 [NOSCRIPT ALLOW_BUSY]              []                             Fan(Fan::Running),         "7.0.0" "Return information about the function currently running (name, description, duration)";
    "script"           -2 [@]                                []                             AnyNode,                   "2.6.0" "A container for Lua scripts management commands";
    "script|debug"      3 [NOSCRIPT]                         []                             Refuse(SHARED_CONNECTION), "3.2.0" "Set the debug mode for executed scripts";
    "script|exists"    -3 [NOSCRIPT]                         []                             Fan(Fan::AndArray),        "2.6.0" "Check existence of scripts in the script cache";
    "script|flush"     -2 [NOSCRIPT]                         []                             Fan(Fan::AllOk),           "2.6.0" "Remove all the scripts from the script cache";
    "script|help"       2 [LOADING STALE]                    []                             AnyNode,                   "5.0.0" "Show helpful text about the different subcommands";
    "script|kill"       2 [NOSCRIPT ALLOW_BUSY]              []                             Fan(Fan::AnyOk),           "2.6.0" "Kill the script currently in execution";
    "script|load"       3 [NOSCRIPT STALE]                   []                             Fan(Fan::AllOk),           "2.6.0" "Load the specified Lua script into the script cache";
}
