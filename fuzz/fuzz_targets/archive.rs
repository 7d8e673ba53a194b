#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sysupdate_fuzz::archive(data));
