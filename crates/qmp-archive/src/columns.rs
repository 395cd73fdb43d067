//! The columns of a Parquet file of records.
//!
//! They are those of `qmp log --csv`, and the members that a table for people leaves out, so that a record can be restored. The
//! column `data` has the data of an event or a finding, or the snapshot of `attached`.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// Records of a row group, at most: what a reader decodes at a time.
pub const ROW_GROUP_MAX_RECORDS: usize = 128 << 10;

/// The metadata of a file with the name of the journal that the offsets belong to.
pub(super) const JOURNAL_KEY: &str = "qmp-events.journal";

/// The metadata of a file whose records have no host in the journal: they are of VMs of the journal's own host.
pub(super) const LOCAL_KEY: &str = "qmp-events.local";

/// The columns, in order.
const SCHEMA: &str = "message record {
    required int64 offset;
    optional binary host (STRING);
    required binary vm (STRING);
    required int64 epoch;
    required int64 seq;
    required int64 received (TIMESTAMP(MICROS, true));
    required binary kind (STRING);
    optional binary event (STRING);
    optional int64 timestamp (TIMESTAMP(MICROS, true));
    optional binary data (JSON);
    optional binary finding (STRING);
    optional binary summary (STRING);
    optional binary reason (STRING);
    optional binary detail (STRING);
    optional int64 certain_until (TIMESTAMP(MICROS, true));
    optional binary sent_name (JSON);
    optional binary sent_timestamp (JSON);
    optional binary causes (JSON);
}";

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Offset,
    Host,
    Vm,
    Epoch,
    Seq,
    Received,
    Kind,
    Event,
    Timestamp,
    Data,
    Finding,
    Summary,
    Reason,
    Detail,
    CertainUntil,
    SentName,
    /// The time of an event as the server sent it, where `timestamp` cannot hold it.
    SentTimestamp,
    Causes,
}

impl Column {
    /// All columns, in the order of the schema.
    pub(super) const ALL: [Self; 18] = [
        Self::Offset,
        Self::Host,
        Self::Vm,
        Self::Epoch,
        Self::Seq,
        Self::Received,
        Self::Kind,
        Self::Event,
        Self::Timestamp,
        Self::Data,
        Self::Finding,
        Self::Summary,
        Self::Reason,
        Self::Detail,
        Self::CertainUntil,
        Self::SentName,
        Self::SentTimestamp,
        Self::Causes,
    ];

    /// The name in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Offset => "offset",
            Self::Host => "host",
            Self::Vm => "vm",
            Self::Epoch => "epoch",
            Self::Seq => "seq",
            Self::Received => "received",
            Self::Kind => "kind",
            Self::Event => "event",
            Self::Timestamp => "timestamp",
            Self::Data => "data",
            Self::Finding => "finding",
            Self::Summary => "summary",
            Self::Reason => "reason",
            Self::Detail => "detail",
            Self::CertainUntil => "certain_until",
            Self::SentName => "sent_name",
            Self::SentTimestamp => "sent_timestamp",
            Self::Causes => "causes",
        }
    }

    /// Whether its values are numbers or times, and not text.
    pub(super) fn is_number(self) -> bool {
        let times = matches!(self, Self::Received | Self::Timestamp | Self::CertainUntil);
        times || matches!(self, Self::Offset | Self::Epoch | Self::Seq)
    }

    /// Whether each record has a value.
    pub(super) fn is_required(self) -> bool {
        let position = matches!(self, Self::Offset | Self::Epoch | Self::Seq);
        position || matches!(self, Self::Vm | Self::Received | Self::Kind)
    }
}

/// The schema of a file.
pub(super) fn schema() -> TypePtr {
    Arc::new(parse_message_type(SCHEMA).expect("the schema is well formed"))
}

/// The properties of a file with records of one journal.
///
/// Numbers that rise are written as their differences, which dictionaries would not shorten; of raw JSON no reader uses the
/// lowest and the highest value.
pub(super) fn properties(metadata: Vec<KeyValue>) -> WriterProperties {
    let sorting = [Column::Vm, Column::Received].map(|column| SortingColumn {
        column_idx: Column::ALL
            .iter()
            .position(|one| *one == column)
            .and_then(|index| i32::try_from(index).ok())
            .expect("a column of the list"),
        descending: false,
        nulls_first: false,
    });
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("qmp-events version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(ROW_GROUP_MAX_RECORDS))
        .set_sorting_columns(Some(sorting.to_vec()))
        .set_key_value_metadata(Some(metadata));
    for column in Column::ALL {
        let path = ColumnPath::from(column.name());
        if column.is_number() && column != Column::Epoch {
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        } else if matches!(column, Column::Data | Column::Causes | Column::Summary) {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_columns_is_the_schema() {
        let schema = schema();
        let fields: Vec<_> =
            schema.get_fields().iter().map(|field| (field.name(), !field.is_optional())).collect();
        let columns: Vec<_> =
            Column::ALL.iter().map(|column| (column.name(), column.is_required())).collect();
        assert_eq!(fields, columns);
    }
}
