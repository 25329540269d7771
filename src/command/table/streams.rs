//! The commands on streams, one a line; `table/mod.rs` explains the columns.

use super::*;

commands! { STREAMS: Stream [STREAM]
    "xack"                  -4 [WRITE FAST]         [at(1, RW|UPDATE)]        Key,                       "5.0.0" "Mark pending messages as processed, removing them from the pending entries list of the group";
    "xackdel"               -6 [WRITE FAST]         [at(1, RW|UPDATE|DELETE)] Key,                       "8.2.0" "Acknowledge messages of a consumer group and remove them from the stream";
    "xadd"                  -5 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key,                       "5.0.0" "Appends a new entry to a stream";
    "xautoclaim"            -6 [WRITE FAST]         [at(1, RW|DELETE)]        Key,                       "6.2.0" "Change ownership of messages in a consumer group, as if delivered to the given consumer, scanning for them";
    "xclaim"                -6 [WRITE FAST]         [at(1, RW|UPDATE)]        Key,                       "5.0.0" "Change ownership of messages in a consumer group, as if delivered to the given consumer";
    "xdel"                  -3 [WRITE FAST]         [at(1, RW|DELETE)]        Key,                       "5.0.0" "Remove the specified entries from the stream";
    "xdelex"                -5 [WRITE FAST]         [at(1, RW|DELETE)]        Key,                       "8.2.0" "Remove entries from the stream with control over references of consumer groups";
    "xgroup"                -2 [@]                  []                        Key,                       "5.0.0" "A container for consumer groups commands";
    "xgroup|create"         -5 [WRITE DENYOOM]      [at(2, RW|INSERT)]        Key,                       "5.0.0" "Create a consumer group";
    "xgroup|createconsumer"  5 [WRITE DENYOOM]      [at(2, RW|INSERT)]        Key,                       "6.2.0" "Create a consumer in a consumer group";
    "xgroup|delconsumer"     5 [WRITE]              [at(2, RW|DELETE)]        Key,                       "5.0.0" "Delete a consumer from a consumer group";
    "xgroup|destroy"         4 [WRITE]              [at(2, RW|DELETE)]        Key,                       "5.0.0" "Destroy a consumer group";
    "xgroup|help"            2 [LOADING STALE]      []                        AnyNode,                   "5.0.0" "Show helpful text about the different subcommands";
    "xgroup|setid"          -5 [WRITE]              [at(2, RW|UPDATE)]        Key,                       "5.0.0" "Set a consumer group to an arbitrary last delivered ID value";
    "xinfo"                 -2 [@]                  []                        Key,                       "5.0.0" "A container for stream introspection commands";
    "xinfo|consumers"        4 [READONLY]           [at(2, RO|ACCESS)]        Key,                       "5.0.0" "List the consumers in a consumer group";
    "xinfo|groups"           3 [READONLY]           [at(2, RO|ACCESS)]        Key,                       "5.0.0" "List the consumer groups of a stream";
    "xinfo|help"             2 [LOADING STALE]      []                        AnyNode,                   "5.0.0" "Show helpful text about the different subcommands";
    "xinfo|stream"          -3 [READONLY]           [at(2, RO|ACCESS)]        Key,                       "5.0.0" "Get information about a stream";
    "xlen"                   2 [READONLY FAST]      [at(1, RO)]               Key,                       "5.0.0" "Return the number of entries in a stream";
    "xpending"              -3 [READONLY]           [at(1, RO|ACCESS)]        Key,                       "5.0.0" "Return information and entries from the pending entries list of a consumer group";
    "xrange"                -4 [READONLY]           [at(1, RO|ACCESS)]        Key,                       "5.0.0" "Return a range of elements in a stream, with IDs matching the specified IDs interval";
    "xread"                 -4 [READONLY BLOCKING]  [streams(1, RO|ACCESS)]   Session(Session::Blocking), "5.0.0" "Return elements of multiple streams with IDs greater than the ones given. Can block";
    "xreadgroup"            -7 [WRITE BLOCKING]     [streams(4, RO|ACCESS)]   Session(Session::Blocking), "5.0.0" "Return new or pending entries from a stream using a consumer group. Can block";
    "xrevrange"             -4 [READONLY]           [at(1, RO|ACCESS)]        Key,                       "5.0.0" "Return a range of elements in a stream in reverse order (from greater to smaller IDs)";
    "xsetid"                -3 [WRITE DENYOOM FAST] [at(1, RW|UPDATE)]        Key,                       "5.0.0" "An internal command for replicating stream values";
    "xtrim"                 -4 [WRITE]              [at(1, RW|DELETE)]        Key,                       "5.0.0" "Trims the stream to (approximately if '~' is passed) a certain size";
}
