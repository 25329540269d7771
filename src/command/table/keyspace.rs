//! The commands on keys of any type, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { KEYSPACE: Generic [KEYSPACE]
    "copy"            -3 [WRITE DENYOOM]                    [at(1, RO|ACCESS), at(2, OW|UPDATE)] Key,                     "6.2.0" "Copy a key";
    "del"             -2 [WRITE]                            [all(1, RM|DELETE)]                Split(Split::Sum),       "1.0.0" "Delete a key";
    "dump"             2 [READONLY]                         [at(1, RO|ACCESS)]                 Key,                     "2.6.0" "Return a serialized version of the value stored at the specified key";
    "exists"          -2 [READONLY FAST]                    [all(1, RO)]                       Split(Split::Sum),       "1.0.0" "Determine if a key exists";
    "expire"          -3 [WRITE FAST]                       [at(1, RW|UPDATE)]                 Key,                     "1.0.0" "Set a key's time to live in seconds";
    "expireat"        -3 [WRITE FAST]                       [at(1, RW|UPDATE)]                 Key,                     "1.2.0" "Set the expiration for a key as a UNIX timestamp";
    "expiretime"       2 [READONLY FAST]                    [at(1, RO|ACCESS)]                 Key,                     "7.0.0" "Get the expiration Unix timestamp for a key";
    "keys"             2 [READONLY @ DANGEROUS KEYSPACE]    []                                 Fan(Fan::ConcatArrays),  "1.0.0" "Find all keys matching the given pattern";
    "migrate"         -6 [WRITE @ DANGEROUS KEYSPACE]       [at(3, RW|ACCESS|DELETE), all_after("KEYS", -2, RW|ACCESS|DELETE|INCOMPLETE)] Refuse(BETWEEN_SERVERS), "2.6.0" "Atomically transfer a key from a Redis instance to another one";
    "move"             3 [WRITE FAST]                       [at(1, RW|ACCESS|UPDATE)]          Key,                     "1.0.0" "Move a key to another database";
    "object"          -2 [@]                                []                                 Key,                     "2.2.3" "A container for object introspection commands";
    "object|encoding"  3 [READONLY]                         [at(2, RO)]                        Key,                     "2.2.3" "Inspect the internal encoding of a Redis object";
    "object|freq"      3 [READONLY]                         [at(2, RO)]                        Key,                     "4.0.0" "Get the logarithmic access frequency counter of a Redis object";
    "object|help"      2 [LOADING STALE]                    []                                 AnyNode,                 "6.2.0" "Show helpful text about the different subcommands";
    "object|idletime"  3 [READONLY]                         [at(2, RO)]                        Key,                     "2.2.3" "Get the time since a Redis object was last accessed";
    "object|refcount"  3 [READONLY]                         [at(2, RO)]                        Key,                     "2.2.3" "Get the number of references to the value of the key";
    "persist"          2 [WRITE FAST]                       [at(1, RW|UPDATE)]                 Key,                     "2.2.0" "Remove the expiration from a key";
    "pexpire"         -3 [WRITE FAST]                       [at(1, RW|UPDATE)]                 Key,                     "2.6.0" "Set a key's time to live in milliseconds";
    "pexpireat"       -3 [WRITE FAST]                       [at(1, RW|UPDATE)]                 Key,                     "2.6.0" "Set the expiration for a key as a UNIX timestamp specified in milliseconds";
    "pexpiretime"      2 [READONLY FAST]                    [at(1, RO|ACCESS)]                 Key,                     "7.0.0" "Get the expiration Unix timestamp for a key in milliseconds";
    "pttl"             2 [READONLY FAST]                    [at(1, RO|ACCESS)]                 Key,                     "2.6.0" "Get the time to live for a key in milliseconds";
    "randomkey"        1 [READONLY]                         []                                 Fan(Fan::RandomKey),     "1.0.0" "Return a random key from the keyspace";
    "rename"           3 [WRITE]                            [at(1, RW|ACCESS|DELETE), at(2, OW|UPDATE)] Key,                     "1.0.0" "Rename a key";
    "renamenx"         3 [WRITE FAST]                       [at(1, RW|ACCESS|DELETE), at(2, OW|INSERT)] Key,                     "1.0.0" "Rename a key, only if the new key does not exist";
    "restore"         -4 [WRITE DENYOOM @ DANGEROUS KEYSPACE] [at(1, OW|UPDATE)]                 Key,                     "2.6.0" "Create a key using the provided serialized value, previously obtained using DUMP";
    "scan"            -2 [READONLY]                         []                                 Fan(Fan::Scan),          "2.8.0" "Incrementally iterate the keys space";
    "sort"            -2 [WRITE DENYOOM @ DANGEROUS LIST SET SORTEDSET] [at(1, RO|ACCESS), unknown(RO|ACCESS), sort_store(OW|UPDATE)] Key,                     "1.0.0" "Sort the elements in a list, set or sorted set";
    "sort_ro"         -2 [READONLY @ DANGEROUS LIST SET SORTEDSET] [at(1, RO|ACCESS), unknown(RO|ACCESS)] Key,                     "7.0.0" "Sort the elements in a list, set or sorted set. Read-only variant of SORT";
    "touch"           -2 [READONLY FAST]                    [all(1, RO)]                       Split(Split::Sum),       "3.2.1" "Alters the last access time of a key(s). Returns the number of existing keys specified";
    "ttl"              2 [READONLY FAST]                    [at(1, RO|ACCESS)]                 Key,                     "1.0.0" "Get the time to live for a key in seconds";
    "type"             2 [READONLY FAST]                    [at(1, RO)]                        Key,                     "1.0.0" "Determine the type stored at key";
    "unlink"          -2 [WRITE FAST]                       [all(1, RM|DELETE)]                Split(Split::Sum),       "4.0.0" "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking";
    "wait"             3 [NOSCRIPT @ CONNECTION]            []                                 Fan(Fan::Min),           "3.0.0" "Wait for the replication of all the write commands sent in the context of the current connection";
    "waitaof"          4 [BLOCKING @ CONNECTION]            []                                 Fan(Fan::MinArray),      "7.2.0" "Wait until the preceding write commands of the connection reach the append-only files";
}
