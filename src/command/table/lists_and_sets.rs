//! The commands on lists and on sets, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { LISTS: List [LIST]
    "blmove"      6 [WRITE DENYOOM NOSCRIPT BLOCKING] [at(1, RW|ACCESS|DELETE), at(2, RW|INSERT)] Session(Session::Blocking), "6.2.0" "Pop an element from a list, push it to another list and return it; or block until one is available";
    "blmpop"     -5 [WRITE BLOCKING]                  [counted(2, RW|ACCESS|DELETE)]     Session(Session::Blocking), "7.0.0" "Pop elements from a list, or block until one is available";
    "blpop"      -3 [WRITE NOSCRIPT BLOCKING]         [all_but_last(1, RW|ACCESS|DELETE)] Session(Session::Blocking), "2.0.0" "Remove and get the first element in a list, or block until one is available";
    "brpop"      -3 [WRITE NOSCRIPT BLOCKING]         [all_but_last(1, RW|ACCESS|DELETE)] Session(Session::Blocking), "2.0.0" "Remove and get the last element in a list, or block until one is available";
    "brpoplpush"  4 [WRITE DENYOOM NOSCRIPT BLOCKING] [at(1, RW|ACCESS|DELETE), at(2, RW|INSERT)] Session(Session::Blocking), "2.2.0" "Pop an element from a list, push it to another list and return it; or block until one is available";
    "lindex"      3 [READONLY]                        [at(1, RO|ACCESS)]                 Key,                       "1.0.0" "Get an element from a list by its index";
    "linsert"     5 [WRITE DENYOOM]                   [at(1, RW|INSERT)]                 Key,                       "2.2.0" "Insert an element before or after another element in a list";
    "llen"        2 [READONLY FAST]                   [at(1, RO)]                        Key,                       "1.0.0" "Get the length of a list";
    "lmove"       5 [WRITE DENYOOM]                   [at(1, RW|ACCESS|DELETE), at(2, RW|INSERT)] Key,                       "6.2.0" "Pop an element from a list, push it to another list and return it";
    "lmpop"      -4 [WRITE]                           [counted(1, RW|ACCESS|DELETE)]     Key,                       "7.0.0" "Pop elements from a list";
    "lpop"       -2 [WRITE FAST]                      [at(1, RW|ACCESS|DELETE)]          Key,                       "1.0.0" "Remove and get the first elements in a list";
    "lpos"       -3 [READONLY]                        [at(1, RO|ACCESS)]                 Key,                       "6.0.6" "Return the index of matching elements on a list";
    "lpush"      -3 [WRITE DENYOOM FAST]              [at(1, RW|INSERT)]                 Key,                       "1.0.0" "Prepend one or multiple elements to a list";
    "lpushx"     -3 [WRITE DENYOOM FAST]              [at(1, RW|INSERT)]                 Key,                       "2.2.0" "Prepend an element to a list, only if the list exists";
    "lrange"      4 [READONLY]                        [at(1, RO|ACCESS)]                 Key,                       "1.0.0" "Get a range of elements from a list";
    "lrem"        4 [WRITE]                           [at(1, RW|DELETE)]                 Key,                       "1.0.0" "Remove elements from a list";
    "lset"        4 [WRITE DENYOOM]                   [at(1, RW|UPDATE)]                 Key,                       "1.0.0" "Set the value of an element in a list by its index";
    "ltrim"       4 [WRITE]                           [at(1, RW|DELETE)]                 Key,                       "1.0.0" "Trim a list to the specified range";
    "rpop"       -2 [WRITE FAST]                      [at(1, RW|ACCESS|DELETE)]          Key,                       "1.0.0" "Remove and get the last elements in a list";
    "rpoplpush"   3 [WRITE DENYOOM]                   [at(1, RW|ACCESS|DELETE), at(2, RW|INSERT)] Key,                       "1.2.0" "Remove the last element in a list, prepend it to another list and return it";
    "rpush"      -3 [WRITE DENYOOM FAST]              [at(1, RW|INSERT)]                 Key,                       "1.0.0" "Append one or multiple elements to a list";
    "rpushx"     -3 [WRITE DENYOOM FAST]              [at(1, RW|INSERT)]                 Key,                       "2.2.0" "Append an element to a list, only if the list exists";
}

commands! { SETS: Set [SET]
    "sadd"        -3 [WRITE DENYOOM FAST] [at(1, RW|INSERT)]                 Key, "1.0.0" "Add one or more members to a set";
    "scard"        2 [READONLY FAST]      [at(1, RO)]                        Key, "1.0.0" "Get the number of members in a set";
    "sdiff"       -2 [READONLY]           [all(1, RO|ACCESS)]                Key, "1.0.0" "Subtract multiple sets";
    "sdiffstore"  -3 [WRITE DENYOOM]      [at(1, OW|UPDATE), all(2, RO|ACCESS)] Key, "1.0.0" "Subtract multiple sets and store the resulting set in a key";
    "sinter"      -2 [READONLY]           [all(1, RO|ACCESS)]                Key, "1.0.0" "Intersect multiple sets";
    "sintercard"  -3 [READONLY]           [counted(1, RO|ACCESS)]            Key, "7.0.0" "Intersect multiple sets and return the cardinality of the result";
    "sinterstore" -3 [WRITE DENYOOM]      [at(1, RW|UPDATE), all(2, RO|ACCESS)] Key, "1.0.0" "Intersect multiple sets and store the resulting set in a key";
    "sismember"    3 [READONLY FAST]      [at(1, RO)]                        Key, "1.0.0" "Determine if a given value is a member of a set";
    "smembers"     2 [READONLY]           [at(1, RO|ACCESS)]                 Key, "1.0.0" "Get all the members in a set";
    "smismember"  -3 [READONLY FAST]      [at(1, RO|ACCESS)]                 Key, "6.2.0" "Returns the membership associated with the given elements for a set";
    "smove"        4 [WRITE FAST]         [at(1, RW|ACCESS|DELETE), at(2, RW|INSERT)] Key, "1.0.0" "Move a member from one set to another";
    "spop"        -2 [WRITE FAST]         [at(1, RW|ACCESS|DELETE)]          Key, "1.0.0" "Remove and return one or multiple random members from a set";
    "srandmember" -2 [READONLY]           [at(1, RO|ACCESS)]                 Key, "1.0.0" "Get one or multiple random members from a set";
    "srem"        -3 [WRITE FAST]         [at(1, RW|DELETE)]                 Key, "1.0.0" "Remove one or more members from a set";
    "sscan"       -3 [READONLY]           [at(1, RO|ACCESS)]                 Key, "2.8.0" "Incrementally iterate Set elements";
    "sunion"      -2 [READONLY]           [all(1, RO|ACCESS)]                Key, "1.0.0" "Add multiple sets";
    "sunionstore" -3 [WRITE DENYOOM]      [at(1, OW|UPDATE), all(2, RO|ACCESS)] Key, "1.0.0" "Add multiple sets and store the resulting set in a key";
}
