//! The commands on strings, bitmaps and HyperLogLogs, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { STRINGS: String [STRING]
    "append"       3 [WRITE DENYOOM FAST] [at(1, RW|INSERT)]                 Key,                "2.0.0" "Append a value to a key";
    "decr"         2 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "1.0.0" "Decrement the integer value of a key by one";
    "decrby"       3 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "1.0.0" "Decrement the integer value of a key by the given number";
    "delex"       -2 [WRITE FAST]         [at(1, RW|DELETE)]                 Key,                "8.4.0" "Delete a key if its value meets a condition";
    "digest"       2 [READONLY FAST]      [at(1, RO|ACCESS)]                 Key,                "8.4.0" "Get the digest of the value of a key";
    "get"          2 [READONLY FAST]      [at(1, RO|ACCESS)]                 Key,                "1.0.0" "Get the value of a key";
    "getdel"       2 [WRITE FAST]         [at(1, RW|ACCESS|DELETE)]          Key,                "6.2.0" "Get the value of a key and delete the key";
    "getex"       -2 [WRITE FAST]         [at(1, RW|ACCESS|UPDATE)]          Key,                "6.2.0" "Get the value of a key and optionally set its expiration";
    "getrange"     4 [READONLY]           [at(1, RO|ACCESS)]                 Key,                "2.4.0" "Get a substring of the string stored at a key";
    "getset"       3 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "1.0.0" "Set the string value of a key and return its old value";
    "incr"         2 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "1.0.0" "Increment the integer value of a key by one";
    "incrby"       3 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "1.0.0" "Increment the integer value of a key by the given amount";
    "incrbyfloat"  3 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "2.6.0" "Increment the float value of a key by the given amount";
    "increx"      -2 [WRITE DENYOOM FAST] [at(1, RW|ACCESS|UPDATE)]          Key,                "8.8.0" "Increment the value of a key within bounds and optionally set its expiration";
    "lcs"         -3 [READONLY]           [two(1, RO|ACCESS)]                Key,                "7.0.0" "Find longest common substring";
    "mget"        -2 [READONLY FAST]      [all(1, RO|ACCESS)]                Split(Split::Mget), "1.0.0" "Get the values of all the given keys";
    "mset"        -3 [WRITE DENYOOM]      [pairs(1, OW|UPDATE)]              Split(Split::Mset), "1.0.1" "Set multiple keys to multiple values";
    "msetex"      -4 [WRITE DENYOOM]      [counted_pairs(1, OW|UPDATE)]      Key,                "8.4.0" "Set multiple keys and their shared expiration";
    "msetnx"      -3 [WRITE DENYOOM]      [pairs(1, OW|INSERT)]              Key,                "1.0.1" "Set multiple keys to multiple values, only if none of the keys exist";
    "psetex"       4 [WRITE DENYOOM]      [at(1, OW|UPDATE)]                 Key,                "2.6.0" "Set the value and expiration in milliseconds of a key";
    "set"         -3 [WRITE DENYOOM]      [at(1, RW|ACCESS|UPDATE|VARIABLE_FLAGS)] Key,                "1.0.0" "Set the string value of a key";
    "setex"        4 [WRITE DENYOOM]      [at(1, OW|UPDATE)]                 Key,                "2.0.0" "Set the value and expiration of a key";
    "setnx"        3 [WRITE DENYOOM FAST] [at(1, OW|INSERT)]                 Key,                "1.0.0" "Set the value of a key, only if the key does not exist";
    "setrange"     4 [WRITE DENYOOM]      [at(1, RW|UPDATE)]                 Key,                "2.2.0" "Overwrite part of a string at key starting at the specified offset";
    "strlen"       2 [READONLY FAST]      [at(1, RO)]                        Key,                "2.2.0" "Get the length of the value stored in a key";
    "substr"       4 [READONLY]           [at(1, RO|ACCESS)]                 Key,                "1.0.0" "Get a substring of the string stored at a key";
}

commands! { BITMAPS: Bitmap [BITMAP]
    "bitcount"    -2 [READONLY]      [at(1, RO|ACCESS)]                 Key, "2.6.0" "Count set bits in a string";
    "bitfield"    -2 [WRITE DENYOOM] [at(1, RW|ACCESS|UPDATE|VARIABLE_FLAGS)] Key, "3.2.0" "Perform arbitrary bitfield integer operations on strings";
    "bitfield_ro" -2 [READONLY FAST] [at(1, RO|ACCESS)]                 Key, "6.0.0" "Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD";
    "bitop"       -4 [WRITE DENYOOM] [at(2, OW|UPDATE), all(3, RO|ACCESS)] Key, "2.6.0" "Perform bitwise operations between strings";
    "bitpos"      -3 [READONLY]      [at(1, RO|ACCESS)]                 Key, "2.8.7" "Find first bit set or clear in a string";
    "getbit"       3 [READONLY FAST] [at(1, RO|ACCESS)]                 Key, "2.2.0" "Returns the bit value at offset in the string value stored at key";
    "setbit"       4 [WRITE DENYOOM] [at(1, RW|ACCESS|UPDATE)]          Key, "2.2.0" "Sets or clears the bit at offset in the string value stored at key";
}

commands! { HYPERLOGLOGS: HyperLogLog [HYPERLOGLOG]
    "pfadd"      -2 [WRITE DENYOOM FAST]  [at(1, RW|INSERT)]                 Key,     "2.8.9" "Adds the specified elements to the specified HyperLogLog";
    "pfcount"    -2 [READONLY]            [all(1, RW|ACCESS)]                Key,     "2.8.9" "Return the approximated cardinality of the set(s) observed by the HyperLogLog at key(s)";
    "pfdebug"     3 [WRITE DENYOOM ADMIN] [at(2, RW|ACCESS)]                 Key,     "2.8.9" "Internal commands for debugging HyperLogLog values";
    "pfmerge"    -2 [WRITE DENYOOM]       [at(1, RW|ACCESS|INSERT), all(2, RO|ACCESS)] Key,     "2.8.9" "Merge N different HyperLogLogs into a single one";
    "pfselftest"  1 [ADMIN]               []                                 AnyNode, "2.8.9" "An internal command for testing HyperLogLog values";
}
