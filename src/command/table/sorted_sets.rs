//! The commands on sorted sets and on the geospatial indexes they hold, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { SORTED_SETS: SortedSet [SORTEDSET]
    "bzmpop"           -5 [WRITE BLOCKING]               [counted(2, RW|ACCESS|DELETE)]     Session(Session::Blocking), "7.0.0" "Remove and return members with scores in a sorted set or block until one is available";
    "bzpopmax"         -3 [WRITE NOSCRIPT BLOCKING FAST] [all_but_last(1, RW|ACCESS|DELETE)] Session(Session::Blocking), "5.0.0" "Remove and return the highest-scored member of one or more sorted sets, or block until one is available";
    "bzpopmin"         -3 [WRITE NOSCRIPT BLOCKING FAST] [all_but_last(1, RW|ACCESS|DELETE)] Session(Session::Blocking), "5.0.0" "Remove and return the lowest-scored member of one or more sorted sets, or block until one is available";
    "zadd"             -4 [WRITE DENYOOM FAST]           [at(1, RW|UPDATE)]                 Key,                       "1.2.0" "Add one or more members to a sorted set, or update its score if it already exists";
    "zcard"             2 [READONLY FAST]                [at(1, RO)]                        Key,                       "1.2.0" "Get the number of members in a sorted set";
    "zcount"            4 [READONLY FAST]                [at(1, RO|ACCESS)]                 Key,                       "2.0.0" "Count the members in a sorted set with scores within the given values";
    "zdiff"            -3 [READONLY]                     [counted(1, RO|ACCESS)]            Key,                       "6.2.0" "Subtract multiple sorted sets";
    "zdiffstore"       -4 [WRITE DENYOOM]                [at(1, OW|UPDATE), counted(2, RO|ACCESS)] Key,                       "6.2.0" "Subtract multiple sorted sets and store the resulting sorted set in a new key";
    "zincrby"           4 [WRITE DENYOOM FAST]           [at(1, RW|ACCESS|UPDATE)]          Key,                       "1.2.0" "Increment the score of a member in a sorted set";
    "zinter"           -3 [READONLY]                     [counted(1, RO|ACCESS)]            Key,                       "6.2.0" "Intersect multiple sorted sets";
    "zintercard"       -3 [READONLY]                     [counted(1, RO|ACCESS)]            Key,                       "7.0.0" "Intersect multiple sorted sets and return the cardinality of the result";
    "zinterstore"      -4 [WRITE DENYOOM]                [at(1, OW|UPDATE), counted(2, RO|ACCESS)] Key,                       "2.0.0" "Intersect multiple sorted sets and store the resulting sorted set in a new key";
    "zlexcount"         4 [READONLY FAST]                [at(1, RO|ACCESS)]                 Key,                       "2.8.9" "Count the number of members in a sorted set between a given lexicographical range";
    "zmpop"            -4 [WRITE]                        [counted(1, RW|ACCESS|DELETE)]     Key,                       "7.0.0" "Remove and return members with scores in a sorted set";
    "zmscore"          -3 [READONLY FAST]                [at(1, RO|ACCESS)]                 Key,                       "6.2.0" "Get the score associated with the given members in a sorted set";
    "zpopmax"          -2 [WRITE FAST]                   [at(1, RW|ACCESS|DELETE)]          Key,                       "5.0.0" "Remove and return members with the highest scores in a sorted set";
    "zpopmin"          -2 [WRITE FAST]                   [at(1, RW|ACCESS|DELETE)]          Key,                       "5.0.0" "Remove and return members with the lowest scores in a sorted set";
    "zrandmember"      -2 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "6.2.0" "Get one or multiple random elements from a sorted set";
    "zrange"           -4 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "1.2.0" "Return a range of members in a sorted set";
    "zrangebylex"      -4 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "2.8.9" "Return a range of members in a sorted set, by lexicographical range";
    "zrangebyscore"    -4 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "1.0.5" "Return a range of members in a sorted set, by score";
    "zrangestore"      -5 [WRITE DENYOOM]                [at(1, OW|UPDATE), at(2, RO|ACCESS)] Key,                       "6.2.0" "Store a range of members from sorted set into another key";
    "zrank"             3 [READONLY FAST]                [at(1, RO|ACCESS)]                 Key,                       "2.0.0" "Determine the index of a member in a sorted set";
    "zrem"             -3 [WRITE FAST]                   [at(1, RW|DELETE)]                 Key,                       "1.2.0" "Remove one or more members from a sorted set";
    "zremrangebylex"    4 [WRITE]                        [at(1, RW|DELETE)]                 Key,                       "2.8.9" "Remove all members in a sorted set between the given lexicographical range";
    "zremrangebyrank"   4 [WRITE]                        [at(1, RW|DELETE)]                 Key,                       "2.0.0" "Remove all members in a sorted set within the given indexes";
    "zremrangebyscore"  4 [WRITE]                        [at(1, RW|DELETE)]                 Key,                       "1.2.0" "Remove all members in a sorted set within the given scores";
    "zrevrange"        -4 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "1.2.0" "Return a range of members in a sorted set, by index, with scores ordered from high to low";
    "zrevrangebylex"   -4 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "2.8.9" "Return a range of members in a sorted set, by lexicographical range, from high to low";
    "zrevrangebyscore" -4 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "2.2.0" "Return a range of members in a sorted set, by score, with scores ordered from high to low";
    "zrevrank"          3 [READONLY FAST]                [at(1, RO|ACCESS)]                 Key,                       "2.0.0" "Determine the index of a member in a sorted set, with scores ordered from high to low";
    "zscan"            -3 [READONLY]                     [at(1, RO|ACCESS)]                 Key,                       "2.8.0" "Incrementally iterate sorted sets elements and associated scores";
    "zscore"            3 [READONLY FAST]                [at(1, RO|ACCESS)]                 Key,                       "1.2.0" "Get the score associated with the given member in a sorted set";
    "zunion"           -3 [READONLY]                     [counted(1, RO|ACCESS)]            Key,                       "6.2.0" "Add multiple sorted sets";
    "zunionstore"      -4 [WRITE DENYOOM]                [at(1, OW|UPDATE), counted(2, RO|ACCESS)] Key,                       "2.0.0" "Add multiple sorted sets and store the resulting sorted set in a new key";
}

commands! { GEO: Geo [GEO]
    "geoadd"               -5 [WRITE DENYOOM] [at(1, RW|UPDATE)]                 Key, "3.2.0" "Add one or more geospatial items in the geospatial index represented using a sorted set";
    "geodist"              -4 [READONLY]      [at(1, RO|ACCESS)]                 Key, "3.2.0" "Returns the distance between two members of a geospatial index";
    "geohash"              -2 [READONLY]      [at(1, RO|ACCESS)]                 Key, "3.2.0" "Returns members of a geospatial index as standard geohash strings";
    "geopos"               -2 [READONLY]      [at(1, RO|ACCESS)]                 Key, "3.2.0" "Returns longitude and latitude of members of a geospatial index";
    "georadius"            -6 [WRITE DENYOOM] [at(1, RO|ACCESS), after("STORE", 6, OW|UPDATE), after("STOREDIST", 6, OW|UPDATE)] Key, "3.2.0" "Query a geospatial index for members within a given distance of a point";
    "georadius_ro"         -6 [READONLY]      [at(1, RO|ACCESS)]                 Key, "3.2.10" "A read-only variant for GEORADIUS";
    "georadiusbymember"    -5 [WRITE DENYOOM] [at(1, RO|ACCESS), after("STORE", 5, OW|UPDATE), after("STOREDIST", 5, OW|UPDATE)] Key, "3.2.0" "Query a geospatial index for members within a given distance of a member";
    "georadiusbymember_ro" -5 [READONLY]      [at(1, RO|ACCESS)]                 Key, "3.2.10" "A read-only variant for GEORADIUSBYMEMBER";
    "geosearch"            -7 [READONLY]      [at(1, RO|ACCESS)]                 Key, "6.2.0" "Query a geospatial index for members inside a box or a circle";
    "geosearchstore"       -8 [WRITE DENYOOM] [at(1, OW|UPDATE), at(2, RO|ACCESS)] Key, "6.2.0" "Query a geospatial index for members inside a box or a circle and store the result in another key";
}
