//! Signatures, keys read each time as the program does.

use std::time::SystemTime;

use sysupdate::verify::{minisign, openpgp};

use crate::Work;
use crate::listings::now;

const LISTED: &[u8] = include_bytes!("../../fuzz/fixtures/SHA256SUMS");

pub(crate) fn openpgp() -> Work {
    let key = include_bytes!("../../fuzz/fixtures/key.pgp");
    let signature = include_bytes!("../../fuzz/fixtures/SHA256SUMS.gpg");
    Box::new(move || {
        let keyring = openpgp::Keyring::parse(key).expect("a keyring");
        let signers = openpgp::verify(LISTED, signature, &keyring, SystemTime::from(now()))
            .expect("it is good");
        signers.len()
    })
}

pub(crate) fn minisign() -> Work {
    let key = include_bytes!("../../fuzz/fixtures/key.pub");
    let signature = include_bytes!("../../fuzz/fixtures/SHA256SUMS.minisig");
    Box::new(move || {
        let keys = minisign::PublicKeys::parse(key).expect("a key");
        let signers = minisign::verify(LISTED, signature, &keys, 1, now()).expect("it is good");
        signers.len()
    })
}
