use std::io::Write;

use proptest::prelude::*;

use super::*;

const PACKED: [Format; 5] = [
    Format::Xz,
    Format::Gzip,
    Format::Zstd,
    Format::Bzip2,
    Format::Lz4,
];

fn pack(format: Format, plain: &[u8]) -> Vec<u8> {
    let written = match format {
        Format::Plain => Ok(plain.to_vec()),
        Format::Xz => {
            let mut packed = Vec::new();
            liblzma::read::XzEncoder::new(plain, 1)
                .read_to_end(&mut packed)
                .map(|_| packed)
        }
        Format::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(plain).and_then(|()| writer.finish())
        }
        Format::Zstd => zstd::encode_all(plain, 1),
        Format::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            writer.write_all(plain).and_then(|()| writer.finish())
        }
        Format::Lz4 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer
                .write_all(plain)
                .and_then(|()| writer.finish().map_err(io::Error::other))
        }
    };
    written.expect("packed")
}

fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = Decoder::new(packed)?;
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain)?;
    assert_eq!(decoder.read(&mut [0; 16])?, 0, "the end stays the end");
    assert!(decoder.finish()?.is_empty(), "all was read");
    Ok(plain)
}

/// Text that is longer than any buffer, and not too regular.
fn sample() -> Vec<u8> {
    (0..120_000_u32)
        .flat_map(|n| {
            (n.wrapping_mul(2_654_435_761) >> 12)
                .to_string()
                .into_bytes()
        })
        .collect()
}

#[test]
fn every_format_is_told_by_content_and_decoded() {
    let plain = sample();
    for format in PACKED.into_iter().chain([Format::Plain]) {
        let packed = pack(format, &plain);
        let decoder = Decoder::new(&packed[..]).expect("opened");
        assert_eq!(decoder.format(), format);
        assert!(unpack(&packed).expect("decoded") == plain, "{format}");
        assert_eq!(
            unpack(&pack(format, b"")).expect("decoded"),
            b"",
            "{format}"
        );
    }
}

#[test]
fn fewer_than_six_bytes_are_plain_whatever_they_are() {
    for head in [
        &b""[..],
        b"\x1f\x8b",
        b"BZh",
        b"BZh9",
        b"\x28\xb5\x2f\xfd",
        b"\xfd7zXZ",
        b"\x04\x22\x4d\x18x",
    ] {
        assert_eq!(unpack(head).expect("copied"), head);
    }
    assert!(unpack(b"\x1f\x8b\0\0\0\0").is_err(), "six bytes decide");
    assert_eq!(unpack(b"\x1f\x8cplain").expect("copied"), b"\x1f\x8cplain");
}

#[test]
fn concatenated_streams_are_one() {
    for format in PACKED {
        let packed = [
            pack(format, b"one "),
            pack(format, &sample()),
            pack(format, b""),
            pack(format, b"three"),
        ];
        let wanted = [b"one ".to_vec(), sample(), b"three".to_vec()].concat();
        assert!(
            unpack(&packed.concat()).expect("decoded") == wanted,
            "{format}"
        );
    }
}

/// Many blocks that say how large they are.
fn blocks(plain: &[u8]) -> Vec<u8> {
    let stream = liblzma::stream::MtStreamBuilder::new()
        .preset(1)
        .check(liblzma::stream::Check::Crc64)
        .block_size(10_000)
        .threads(2)
        .encoder()
        .expect("an encoder");
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new_stream(plain, stream)
        .read_to_end(&mut packed)
        .expect("packed");
    packed
}

#[test]
fn blocks_side_by_side_come_out_in_their_order_and_no_mistake_in_one_is_missed() {
    let plain = sample();
    let packed = blocks(&plain);
    assert!(packed.len() > 20 * 1000, "{} bytes", packed.len());
    assert!(unpack(&packed).expect("decoded") == plain);
    let both = [&packed[..], &pack(Format::Xz, b"between"), &[0; 8], &packed].concat();
    let wanted = [&plain[..], b"between", &plain].concat();
    assert!(unpack(&both).expect("decoded") == wanted);
    let step = packed.len() / 23;
    for place in (SNIFFED..packed.len()).step_by(step) {
        assert!(unpack(&packed[..place]).is_err(), "cut at {place}");
        let mut damaged = packed.clone();
        damaged[place] ^= 0x40;
        assert!(unpack(&damaged).is_err(), "damaged at {place}");
    }
}

#[test]
fn empty_streams_without_end_are_refused() {
    for format in [Format::Xz, Format::Bzip2, Format::Lz4] {
        let empty = pack(format, b"");
        let some: Vec<u8> = [empty.repeat(20), pack(format, b"x"), empty.repeat(60)].concat();
        assert_eq!(unpack(&some).expect("few"), b"x", "{format}");
        let error = unpack(&empty.repeat(1000)).expect_err("many");
        assert!(error.to_string().contains("empty streams"), "{error}");
    }
}

#[test]
fn between_xz_streams_may_be_words_of_zeros() {
    let one = pack(Format::Xz, b"one");
    for (zeros, is_right) in [(4, true), (8, true), (70_000, true), (1, false), (6, false)] {
        let zeros = vec![0; zeros];
        let two = unpack(&[&one[..], &zeros, &one].concat());
        assert_eq!(two.ok().as_deref() == Some(b"oneone"), is_right);
        let end = unpack(&[&one[..], &zeros].concat());
        assert_eq!(end.ok().as_deref() == Some(b"one"), is_right);
    }
}

#[test]
fn every_cut_is_noticed() {
    for format in PACKED {
        let packed = pack(format, b"some words, some words, and some more words");
        for end in SNIFFED..packed.len() {
            let error = unpack(&packed[..end]).expect_err("cut short");
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidData,
                "{format} at {end}: {error}"
            );
            assert!(
                error
                    .to_string()
                    .contains(&format!("cannot decode {format} data")),
                "{error}"
            );
        }
        // Also far behind the first block of output.
        let packed = pack(format, &sample());
        assert!(unpack(&packed[..packed.len() - 1]).is_err(), "{format}");
        assert!(unpack(&packed[..packed.len() / 2]).is_err(), "{format}");
    }
}

#[test]
fn a_frame_that_lacks_only_its_end_mark_is_cut_short() {
    // The plain frame decoder takes this for the end.
    let packed = pack(Format::Lz4, b"words");
    let error = unpack(&packed[..packed.len() - 4]).expect_err("no end mark");
    assert!(error.to_string().contains("cut short"), "{error}");
}

#[test]
fn what_follows_a_stream_and_is_none_is_refused() {
    for format in PACKED {
        for garbage in [
            &b"x"[..],
            b"garbage that is longer than any magic",
            b"\0\0\0",
        ] {
            let packed = [&pack(format, b"words")[..], garbage].concat();
            let error = unpack(&packed).expect_err("garbage");
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidData,
                "{format} {garbage:?}"
            );
        }
    }
}

#[test]
fn a_damaged_checksum_is_noticed() {
    for format in [Format::Xz, Format::Gzip, Format::Bzip2] {
        let mut packed = pack(format, &sample());
        let at = packed.len() / 2;
        packed[at] ^= 0x10;
        assert!(unpack(&packed).is_err(), "{format}");
    }
}

#[test]
fn memory_that_a_header_claims_is_refused() {
    // zstd: a frame with a window of 2^31 bytes (RFC 8878 section 3.1.1.1.2: exponent 21).
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert_eq!(
        unpack(&zstd).expect_err("too large").kind(),
        io::ErrorKind::InvalidData
    );

    let packed = pack(Format::Xz, b"words");
    // xz: a dictionary of 2 GiB.
    let large = with_dictionary(&packed, 38);
    assert_eq!(
        unpack(&large).expect_err("too large").kind(),
        io::ErrorKind::InvalidData
    );
}

/// An xz stream whose block header claims another dictionary (xz format 1.2.1, section 5.3.1).
fn with_dictionary(packed: &[u8], bits: u8) -> Vec<u8> {
    let mut packed = packed.to_vec();
    let size = (usize::from(packed[12]) + 1) * 4;
    let header = &mut packed[12..12 + size];
    let property = header
        .windows(2)
        .position(|pair| pair == [0x21, 0x01])
        .expect("the LZMA2 filter")
        + 2;
    header[property] = bits;
    let (covered, sum) = header.split_at_mut(size - 4);
    sum.copy_from_slice(&crc32(covered).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the wire broke",
        ))
    }
}

#[test]
fn an_error_of_the_source_comes_through_as_it_is() {
    for format in PACKED.into_iter().chain([Format::Plain]) {
        let packed = pack(format, &sample());
        let source = packed[..packed.len() / 2].chain(Failing);
        let error =
            Decoder::new(source).and_then(|mut decoder| io::copy(&mut decoder, &mut io::sink()));
        let error = error.expect_err("the source fails");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::UnexpectedEof, "the wire broke")
        );

        let source = packed[..packed.len() / 2].chain(Failing);
        let error = Decoder::new(source)
            .and_then(Decoder::finish)
            .err()
            .expect("finish reads the source, too");
        assert_eq!(error.to_string(), "the wire broke", "{format}");
    }
}

#[test]
fn finish_reads_what_the_caller_did_not_want() {
    for format in PACKED.into_iter().chain([Format::Plain]) {
        let packed = pack(format, &sample());
        let counted = crate::verify::reader::Hashing::new(&packed[..]);
        let mut decoder = Decoder::new(counted).expect("opened");
        decoder.read_exact(&mut [0; 100]).expect("decoded");
        let digest = decoder.finish().expect("finished").finish();
        let mut whole = crate::verify::reader::Hashing::new(&packed[..]);
        io::copy(&mut whole, &mut io::sink()).expect("read");
        assert!(digest == whole.finish(), "{format}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes_never_panic(kind in 0..6_usize, bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let magic: &[u8] = MAGIC.get(kind).map_or(b"", |(magic, _)| magic);
        let mut decoder = Decoder::new(magic.chain(&bytes[..])).expect("opened");
        // Bounded like a caller would: 600 bytes can claim a lot.
        let result = io::copy(&mut (&mut decoder).take(1 << 20), &mut io::sink());
        if let Err(error) = result {
            prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        prop_assert!(decoder.finish().is_ok());
    }

    #[test]
    fn a_flipped_bit_never_panics(kind in 0..5_usize, at in any::<proptest::sample::Index>(), bit in 0..8_u8) {
        let mut packed = pack(PACKED[kind], b"some words, some words, and some more words");
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        let mut decoder = Decoder::new(&packed[..]).expect("opened");
        let _ = io::copy(&mut (&mut decoder).take(1 << 20), &mut io::sink());
        prop_assert!(decoder.finish().is_ok());
    }
}
