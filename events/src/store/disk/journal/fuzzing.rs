//! Any bytes as a file of the journal, and as the changes of a group in one.

use super::*;

/// Any bytes as a file, as the records of a file whose mark is right, and as a group whose checksum is right.
///
/// # Panics
/// When a promise is broken.
pub fn fuzz_journal(data: &[u8]) {
    entries(data);
    if let Some((mark, records)) = data.split_first_chunk() {
        let whole = file_of(mark, records);
        entries(&whole);
        // The checksum of the first record put right, which no chance finds.
        let first = RECORDS_AT as usize;
        let end = first + HEADER_BYTES + records.len().saturating_sub(HEADER_BYTES + CRC_BYTES);
        if records.len() > HEADER_BYTES + CRC_BYTES && records.starts_with(mark) {
            let mut whole = whole;
            let length = u32::try_from(end - first - HEADER_BYTES).unwrap_or(u32::MAX);
            whole[first + HEADER_BYTES - 4..first + HEADER_BYTES]
                .copy_from_slice(&length.to_be_bytes());
            let crc = crc32fast::hash(&whole[first..end]).to_be_bytes();
            whole[end..end + CRC_BYTES].copy_from_slice(&crc);
            entries(&whole);
        }
    }
    if let Some(changes) = changes_of(data) {
        round_trip(&Entry { number: 7, changes });
    }
}

fn entries(file: &[u8]) {
    for entry in entries_of(file) {
        round_trip(&entry);
    }
}

/// What is read is written and read the same, and is not read when its last byte is missing.
fn round_trip(entry: &Entry) {
    let mark = [7; 16];
    let record = record_of(&mark, entry);
    assert_eq!(entry_of(&record), Some((entry.clone(), record.len())));
    assert_eq!(entry_of(&record[..record.len() - 1]), None);
    let file = file_of(&mark, &record);
    assert!(entries_of(&file).contains(entry), "it is found where it was written");
}

fn record_of(mark: &Mark, entry: &Entry) -> Vec<u8> {
    let mut record = Vec::new();
    put_record(&mut record, mark, entry.number, &entry.changes);
    let crc = crc32fast::hash(&record);
    record.put_u32(crc);
    record
}

fn file_of(mark: &Mark, records: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    file.put_u32(MAGIC);
    file.put_slice(mark);
    file.put_u32(crc32fast::hash(&file));
    file.resize(RECORDS_AT as usize, 0);
    file.put_slice(records);
    file
}

/// A mark and records behind it, and the changes of a group.
#[cfg(test)]
pub(crate) fn journal_seeds() -> Vec<Vec<u8>> {
    let mark = [9; 16];
    let one = Changes::from([(b"key".to_vec(), Some(b"value".to_vec())), (b"gone".to_vec(), None)]);
    let other = Changes::from([(Vec::new(), Some(Vec::new())), (vec![1; 40], Some(vec![2; 300]))]);
    let records = [(1, one), (2, other.clone()), (3, Changes::new()), (u64::MAX, other)]
        .map(|(number, changes)| record_of(&mark, &Entry { number, changes }));
    let behind = records.concat();
    let mut seeds: Vec<Vec<u8>> =
        records.iter().map(|record| [&mark[..], record].concat()).collect();
    seeds.push([&mark[..], &behind].concat());
    seeds.push(file_of(&mark, &behind));
    seeds.extend(records.iter().map(|it| it[HEADER_BYTES..it.len() - CRC_BYTES].to_vec()));
    seeds
}
