//! Records as comma-separated values (RFC 4180), for spreadsheets and data frames.

use qmp_wire::{Body, QualifiedName, Record};

use super::{escape, json_text};
use crate::time::write;

/// The columns. A column that does not apply to a kind of record is empty.
const COLUMNS: &str =
    "offset,vm,epoch,seq,received,kind,event,timestamp,data,finding,summary,reason,detail,certain_until,host";

pub(super) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(COLUMNS.as_bytes());
    out.push(b'\n');
}

/// Appends the line of `record`. Times are RFC 3339 in UTC; `data` is raw JSON on one line.
pub(super) fn write_record(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut row: [String; 15] = Default::default();
    row[0] = record.offset.map(|offset| offset.0.to_string()).unwrap_or_default();
    let (host, vm) = QualifiedName::divide(&record.vm);
    row[1] = vm.into();
    row[14] = host.unwrap_or_default().into();
    row[2] = record.epoch.0.to_string();
    row[3] = record.seq.0.to_string();
    row[4] = write::rfc3339(record.received);
    match &record.body {
        Body::Attached { snapshot } => {
            row[5] = "attached".into();
            row[8] = json_text::compact(snapshot);
        }
        Body::Event { name, timestamp, data, .. } => {
            row[5] = "event".into();
            row[6] = name.to_string();
            row[7] = timestamp.map(|time| write::rfc3339(write::event_moment(time))).unwrap_or_default();
            row[8] = data.as_deref().map(json_text::compact).unwrap_or_default();
        }
        Body::Finding { finding, summary, data, .. } => {
            row[5] = "finding".into();
            row[8] = data.as_deref().map(json_text::compact).unwrap_or_default();
            row[9] = finding.to_string();
            row[10] = summary.to_string();
        }
        Body::Detached { reason, detail, certain_until } => {
            row[5] = "detached".into();
            row[11] = reason.to_string();
            row[12] = detail.as_deref().unwrap_or_default().to_owned();
            row[13] = certain_until.map(write::rfc3339).unwrap_or_default();
        }
    }
    for (index, field) in row.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_field(field, out);
    }
    out.push(b'\n');
}

/// Writes a cell, with control characters escaped: a table may be printed on a terminal. A spreadsheet would evaluate a text
/// of a peer that begins with `=`, `+`, `-` or `@` as a formula; a leading apostrophe makes it text. A `-` alone, which stands
/// for no name, is no formula.
pub fn write_field(field: &str, out: &mut Vec<u8>) {
    let field = &*escape::text(field);
    let is_formula = field != "-" && field.starts_with(['=', '+', '-', '@']);
    let quoted = is_formula.then(|| format!("'{field}"));
    let field = quoted.as_deref().unwrap_or(field);
    if !field.contains([',', '"']) {
        out.extend_from_slice(field.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::examples;

    #[test]
    fn cell_is_not_a_formula() {
        let cases = [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("-", "-"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\\t=1"),
            ("\r=1", "\\r=1"),
            ("a\u{1b}[2J", "a\\u001b[2J"),
            ("=HYPERLINK(\"x\",1)", "\"'=HYPERLINK(\"\"x\"\",1)\""),
            ("a=1", "a=1"),
            ("{\"a\": -1}", "\"{\"\"a\"\": -1}\""),
            ("", ""),
        ];
        for (field, expected) in cases {
            let mut out = Vec::new();
            write_field(field, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{field}");
        }
    }

    #[test]
    fn record_of_each_kind_is_written() {
        let mut out = Vec::new();
        write_header(&mut out);
        let mut records = examples::records();
        records[1].vm = "node1/web1".into();
        for record in records {
            write_record(&record, &mut out);
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r##"
offset,vm,epoch,seq,received,kind,event,timestamp,data,finding,summary,reason,detail,certain_until,host
41,web1,1,0,2026-01-02T03:04:05.678901Z,attached,,,"{""address"":""unix:/run/web1.sock"",""greeting"":{""version"":{""qemu"":{""micro"":22,""minor"":2,""major"":7},""package"":""""},""capabilities"":[""oob""]},""query-status"":{""status"":""running"",""running"":true}}",,,,,,
42,web1,1,1,2026-01-02T03:04:06.678901Z,event,STOP,2026-01-02T03:04:06.678901Z,,,,,,,node1
43,web1,1,2,2026-01-02T03:04:06.778901Z,event,BLOCK_IO_ERROR,2026-01-02T03:04:06.777901Z,"{""device"":"""",""reason"":""No space, \""left\""""}",,,,,,
44,web1,1,3,2026-01-02T03:04:07.278901Z,event,RTC_CHANGE,2026-01-02T03:04:06.277901Z,"{""offset"":-3600}",,,,,,
45,web1,1,4,2026-01-02T03:04:07.378901Z,finding,,,,sequel-missing,RESET did not follow WATCHDOG,,,,
46,web1,1,5,2026-01-02T03:04:07.478901Z,detached,,,,,,peer closed,,2026-01-02T03:04:07.478901Z,
47,web1,2,0,2026-01-02T03:04:09.578901Z,attached,,,"{""address"":""unix:/run/web1.sock"",""greeting"":{""version"":{""qemu"":{""micro"":22,""minor"":2,""major"":7},""package"":""""},""capabilities"":[""oob""]},""query-status"":{""status"":""running"",""running"":true}}",,,,,,
48,web1,2,1,2026-01-02T03:04:09.678901Z,event,__org.example_\u001b[2J_ODD,2026-01-02T03:04:09.678901Z,"{""a"":[1]}",,,,,,
49,web1,3,0,2026-01-02T03:04:14.678901Z,attached,,,"{""address"":""unix:/run/web1.sock"",""greeting"":{""version"":{""qemu"":{""micro"":22,""minor"":2,""major"":7},""package"":""""},""capabilities"":[""oob""]},""query-status"":{""status"":""running"",""running"":true}}",,,,,,
"##);
    }
}
