//! See `retold_tools::fuzzing::mcp_messages`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_tools::fuzzing::mcp_messages(data));
