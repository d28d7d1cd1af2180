//! Frames of a backup from who knows where: never a panic, and what is taken for rows could be written.
#![no_main]

use eddy_kv::Transaction;
use eddy_kv::backup::decode_rows;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    for row in decode_rows(payload).unwrap_or_default() {
        assert!(Transaction::new().put(row.key, row.value.bytes).validate().is_ok());
    }
});
