//! Every error a user can see has a number, a short name and a page under `docs/errors/`.

use std::fmt;

use serde::Serialize;

/// The number of an error, shown as `CF0031`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CF{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal;)+) => {
        impl Code {
            $($(#[doc = $doc])+ pub const $name: Code = Code($number);)+

            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];
        }
    };
}

codes! {
    /// The change file cannot be read.
    FILE_UNREADABLE = 1;
    /// The change file is not YAML.
    FILE_SYNTAX = 2;
    /// A key of the change file is not known.
    KEY_UNKNOWN = 3;
    /// A key of the change file is missing.
    KEY_MISSING = 4;
    /// A value of the change file has the wrong form.
    VALUE_INVALID = 5;
    /// An interpolated variable or file is missing.
    INTERPOLATION_FAILED = 6;
    /// A name is used twice.
    NAME_DUPLICATE = 7;
    /// The version of the change file is not one this program reads.
    VERSION_UNKNOWN = 8;
    /// A file would be overwritten.
    FILE_EXISTS = 9;

    /// A mapping operation names a field that is not there.
    FIELD_UNKNOWN = 31;
    /// Two operations write one path.
    PATH_WRITTEN_TWICE = 32;
    /// A required new field has no producer.
    FIELD_NOT_PRODUCED = 33;
    /// An old field would be lost.
    FIELD_LOST = 34;
    /// Types cannot meet.
    TYPE_MISMATCH = 35;
    /// A key operation is not iso.
    KEY_NOT_ISO = 36;
    /// A fallible operation has no `on_fail`.
    ON_FAIL_MISSING = 37;
    /// An operation's own settings contradict each other.
    OPERATION_INVALID = 38;
    /// A mapping law does not hold.
    LAW_BROKEN = 39;
    /// A value could not be mapped.
    VALUE_UNMAPPABLE = 40;
    /// An expression does not compile or does not evaluate.
    EXPRESSION_FAILED = 41;

    /// A file or server cannot be opened.
    END_UNREACHABLE = 101;
    /// The table is not there.
    TABLE_MISSING = 102;
    /// The table has no usable key.
    KEY_UNUSABLE = 103;
    /// The end cannot be written.
    END_READ_ONLY = 104;
    /// The new table holds rows already.
    TARGET_NOT_EMPTY = 105;
    /// The table has triggers that our writes would fire.
    TRIGGERS_PRESENT = 106;
    /// An index cannot be followed.
    INDEX_UNSUPPORTED = 107;
    /// A column cannot be carried.
    COLUMN_UNSUPPORTED = 108;
    /// The end already carries this change under another ledger.
    CARRIED_ELSEWHERE = 109;
    /// The end's settings are unsafe for a change.
    END_SETTING = 110;
    /// Key values that are null or equal under the other end's comparison.
    KEY_VALUES = 111;
    /// Old and new are the same table.
    SAME_TABLE = 112;
    /// The new log cannot hold what the old one holds, as it holds it.
    LOGS_UNEQUAL = 113;
    /// Keys would go to another partition in the new log.
    KEYS_MOVED = 114;
    /// The server does not allow this client what the change needs.
    RIGHTS_MISSING = 115;
    /// The server does not let this client in, or is not who it should be.
    END_REFUSED = 116;

    /// The shape of a table changed while the change runs.
    SHAPE_CHANGED = 201;
    /// The feed lost its place.
    FEED_LOST = 202;
    /// A write on the mirror that is not ours.
    ROGUE_WRITE = 203;
    /// The disk or the quota is full.
    DISK_FULL = 204;
    /// The end is busy or locked by somebody else.
    END_BUSY = 205;
    /// The end reports damage or misuse.
    END_FAILED = 206;
    /// A row conflicts with another one on a unique value.
    UNIQUE_CONFLICT = 207;
    /// A row violates a constraint of the target.
    CONSTRAINT_VIOLATED = 208;
    /// Too many letters.
    LETTERS_LIMIT = 209;
    /// Evidence of a clean compare could not be had in time.
    COMPARE_UNPROVEN = 210;
    /// A table was truncated while the change runs.
    TABLE_TRUNCATED = 211;
    /// The checkpoint says that more was carried than is there.
    CHECKPOINT_AHEAD = 212;
    /// A record waits behind a letter of its key.
    KEY_BLOCKED = 213;

    /// This process was overtaken by another.
    FENCED = 301;
    /// Writers of this side are refused by the guard.
    GUARD_REFUSED = 302;
    /// The fence ended before the turn did.
    FENCE_EXPIRED = 303;
    /// A turn failed and authority stayed where it was.
    TURN_FAILED = 304;
    /// The ends give an impossible pair of answers.
    OWNERSHIP_AMBIGUOUS = 305;
    /// Another process runs this change.
    ALREADY_RUNNING = 306;
    /// The mapping differs from the one the change was started with.
    MAPPING_CHANGED = 307;

    /// The verb is not possible in this phase.
    PHASE_REFUSES = 401;
    /// A gate is closed.
    GATE_CLOSED = 402;
    /// The change is held.
    HELD = 403;
    /// The ends diverge.
    DIVERGED = 404;
    /// The ledger cannot be used.
    LEDGER_FAILED = 405;
    /// The change is not known here.
    CHANGE_UNKNOWN = 406;
    /// A confirmation was not given.
    NOT_CONFIRMED = 407;
    /// The answer did not come in time.
    WAIT_TIMED_OUT = 408;
    /// A letter or key is not there.
    LETTER_UNKNOWN = 409;

    /// A consumer group is not there.
    GROUP_UNKNOWN = 421;
    /// A consumer group reads while it should not.
    GROUP_ACTIVE = 422;
    /// Where a consumer goes on cannot be told exactly.
    PLACE_INEXACT = 423;
    /// A consumer group has said nothing of some partitions.
    COMMIT_MISSING = 424;

    /// A payload is not what its format says.
    PAYLOAD_MALFORMED = 501;
    /// A payload does not fit its shape.
    PAYLOAD_UNFIT = 502;
    /// A row cannot be written as a payload.
    PAYLOAD_UNWRITABLE = 503;
    /// A payload does not name its schema.
    PAYLOAD_UNFRAMED = 504;
    /// The headers of a record cannot be read whole.
    HEADERS_UNREAD = 505;

    /// A schema is not Avro, or cannot be used for what it is needed for.
    SCHEMA_UNUSABLE = 511;
    /// A payload names a schema that the registry does not have.
    SCHEMA_UNKNOWN = 512;
    /// The schema registry cannot be asked.
    REGISTRY_UNREACHABLE = 513;
    /// The schema registry refused a question.
    REGISTRY_REFUSED = 514;
    /// A topic has no schema in the registry.
    /// A topic has no schema in the registry.
    SUBJECT_MISSING = 515;

    /// A broken invariant of this program.
    INTERNAL = 900;
}
