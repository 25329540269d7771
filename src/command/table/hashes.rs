//! The commands on hashes, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { HASHES: Hash [HASH]
    "hdel"         -3 [WRITE FAST]         [at(1, RW|DELETE)]        Key, "2.0.0" "Delete one or more hash fields";
    "hexists"       3 [READONLY FAST]      [at(1, RO)]               Key, "2.0.0" "Determine if a hash field exists";
    "hexpire"      -6 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "7.4.0" "Set the time to live of hash fields in seconds";
    "hexpireat"    -6 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "7.4.0" "Set the expiration of hash fields as a UNIX timestamp in seconds";
    "hexpiretime"  -5 [READONLY FAST]      [at(1, RO|ACCESS)]        Key, "7.4.0" "Get the expiration of hash fields as a UNIX timestamp in seconds";
    "hget"          3 [READONLY FAST]      [at(1, RO|ACCESS)]        Key, "2.0.0" "Get the value of a hash field";
    "hgetall"       2 [READONLY]           [at(1, RO|ACCESS)]        Key, "2.0.0" "Get all the fields and values in a hash";
    "hgetdel"      -5 [WRITE FAST]         [at(1, RW|ACCESS|DELETE)] Key, "8.0.0" "Get the values of hash fields and delete the fields";
    "hgetex"       -5 [WRITE FAST]         [at(1, RW|ACCESS|UPDATE)] Key, "8.0.0" "Get the values of hash fields and optionally set their expiration";
    "hincrby"       4 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)] Key, "2.0.0" "Increment the integer value of a hash field by the given number";
    "hincrbyfloat"  4 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)] Key, "2.6.0" "Increment the float value of a hash field by the given amount";
    "hkeys"         2 [READONLY]           [at(1, RO|ACCESS)]        Key, "2.0.0" "Get all the fields in a hash";
    "hlen"          2 [READONLY FAST]      [at(1, RO)]               Key, "2.0.0" "Get the number of fields in a hash";
    "hmget"        -3 [READONLY FAST]      [at(1, RO|ACCESS)]        Key, "2.0.0" "Get the values of all the given hash fields";
    "hmset"        -4 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "2.0.0" "Set multiple hash fields to multiple values";
    "hpersist"     -5 [WRITE FAST]         [at(1, RW|UPDATE)]        Key, "7.4.0" "Remove the expiration of hash fields";
    "hpexpire"     -6 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "7.4.0" "Set the time to live of hash fields in milliseconds";
    "hpexpireat"   -6 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "7.4.0" "Set the expiration of hash fields as a UNIX timestamp in milliseconds";
    "hpexpiretime" -5 [READONLY FAST]      [at(1, RO|ACCESS)]        Key, "7.4.0" "Get the expiration of hash fields as a UNIX timestamp in milliseconds";
    "hpttl"        -5 [READONLY FAST]      [at(1, RO|ACCESS)]        Key, "7.4.0" "Get the time to live of hash fields in milliseconds";
    "hrandfield"   -2 [READONLY]           [at(1, RO|ACCESS)]        Key, "6.2.0" "Get one or multiple random fields from a hash";
    "hscan"        -3 [READONLY]           [at(1, RO|ACCESS)]        Key, "2.8.0" "Incrementally iterate hash fields and associated values";
    "hset"         -4 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "2.0.0" "Set the string value of a hash field";
    "hsetex"       -6 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key, "8.0.0" "Set the values of hash fields and optionally their expiration";
    "hsetnx"        4 [WRITE DENYOOM FAST] [at(1, RW|INSERT)]        Key, "2.0.0" "Set the value of a hash field, only if the field does not exist";
    "hstrlen"       3 [READONLY FAST]      [at(1, RO)]               Key, "3.2.0" "Get the length of the value of a hash field";
    "httl"         -5 [READONLY FAST]      [at(1, RO|ACCESS)]        Key, "7.4.0" "Get the time to live of hash fields in seconds";
    "hvals"         2 [READONLY]           [at(1, RO|ACCESS)]        Key, "2.0.0" "Get all the values in a hash";
}
