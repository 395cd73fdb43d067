//! Files that are written and read back, and files that are not whole or of other columns.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use qmp_wire::Offset;

use super::*;
use crate::cell::Origin;
use crate::part_writer::write_part;
use crate::samples::{any_record, event};

fn origin(is_local: bool) -> Origin {
    Origin { journal: "j".into(), host: "node1".into(), is_local }
}

fn written(records: &[Record<'static>], is_local: bool) -> Vec<u8> {
    write_part(Vec::new(), &origin(is_local), &mut records.to_vec()).unwrap()
}

/// The records of a file, in the order of their offsets.
fn read_back(bytes: &[u8]) -> Result<Vec<Record<'static>>, PartError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let part = Part::open(file.path())?;
    let mut records = Vec::new();
    for group in 0..part.groups.len() {
        part.read_group(group, |record| {
            records.push(record);
            Ok::<_, PartError>(())
        })?;
    }
    records.sort_by_key(|record| record.offset);
    Ok(records)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A record that was written as Parquet is read back as it was.
    #[test]
    fn record_survives_its_row(bodies in prop::collection::vec(any_record(0), 1..20)) {
        let records: Vec<Record<'static>> = bodies
            .into_iter()
            .enumerate()
            .map(|(index, record)| Record { offset: Some(Offset(index as u64)), ..record })
            .collect();
        prop_assert_eq!(read_back(&written(&records, true)).unwrap(), records);
    }

    /// No byte that changed and no end that is missing causes more than an error.
    #[test]
    fn damaged_file_is_read_or_refused(at in 0usize..4000, byte: u8, cut in prop::option::of(0usize..4000)) {
        let records: Vec<_> = (1..50).map(|offset| event(offset, "web1", 3)).collect();
        let mut bytes = written(&records, true);
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut.map_or(length, |cut| cut % length));
        let _ = read_back(&bytes);
    }
}

#[test]
fn page_at_which_the_library_panics_is_an_error() {
    let mut bytes = written(&(1..50).map(|offset| event(offset, "web1", 3)).collect::<Vec<_>>(), true);
    bytes[41] = 32;
    assert!(matches!(read_back(&bytes), Err(PartError::Damaged)));
}

#[test]
fn row_groups_have_their_lowest_offset() {
    let most = crate::columns::ROW_GROUP_MAX_RECORDS as u64;
    let records: Vec<_> = (1..=most + 5).map(|offset| event(offset, "web1", 3)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), written(&records, true)).unwrap();
    let part = Part::open(file.path()).unwrap();
    assert_eq!((part.journal(), part.is_local(), part.rows()), (Some("j"), true, most + 5));
    assert_eq!(part.lowest_offsets().collect::<Vec<_>>(), [1, most + 1]);
}

#[test]
fn record_of_other_host_keeps_it() {
    let records = [event(1, "node1/web1", 3), event(2, "node1/web2", 3)];
    assert_eq!(read_back(&written(&records, false)).unwrap(), records);
}

#[test]
fn file_of_other_content_is_refused() {
    let whole = written(&[event(1, "web1", 3)], true);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("nothing", Vec::new(), "not a Parquet file that can be read"),
        ("text", b"offset,vm\n1,web1\n".to_vec(), "not a Parquet file that can be read"),
        ("truncated", whole[..whole.len() - 9].to_vec(), "not a Parquet file that can be read"),
        ("no offset", other("required int64 x; required binary vm (STRING);"), "column `offset` is missing"),
        (
            "text as offset",
            other("required int64 seq; required binary offset (STRING);"),
            "column `offset` is not of 64-bit",
        ),
        ("no vm", other("required int64 offset; required binary kind (STRING);"), "column `vm` is missing"),
    ];
    for (name, bytes, expected) in cases {
        let error = read_back(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// A file with a column of numbers and one of texts.
fn other(columns: &str) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message other {{ {columns} }}")).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("a")], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}
