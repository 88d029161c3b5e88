//! See `retold_events::fuzzing::envelope`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_events::fuzzing::envelope(data));
