//! `OpenPGP` packets out of bytes.
//!
//! Owns the framing (RFC 9580 section 4.2): every packet lies wholly within the input, none is of unknown length, and
//! there are only so many. What a packet says is parsed by the library, from exactly the bytes of that packet.

use pgp::packet::{Packet, PacketHeader};
use pgp::types::{PacketLength, Tag};

/// A packet of the input.
pub(super) struct Framed<'a> {
    header: PacketHeader,
    body: &'a [u8],
}

impl Framed<'_> {
    pub(super) fn tag(&self) -> Tag {
        self.header.tag()
    }

    /// The packet's contents; `None` when they are damaged, or of a kind or algorithm that is not known.
    pub(super) fn parse(&self) -> Option<Packet> {
        Packet::from_reader(self.header, self.body).ok()
    }
}

/// What is wrong with the framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    #[error("no OpenPGP packet at byte {0}")]
    NoPacket(usize),
    #[error("the OpenPGP packet at byte {0} is cut short")]
    CutShort(usize),
    #[error("more than {0} OpenPGP packets")]
    TooMany(usize),
}

/// Splits `input` into at most `most` packets.
pub(super) fn split(input: &[u8], most: usize) -> Result<Vec<Framed<'_>>, FramingError> {
    let mut packets = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let at = input.len() - rest.len();
        if packets.len() == most {
            return Err(FramingError::TooMany(most));
        }
        // Bit 7 is set in every packet's first byte.
        if rest[0] & 0x80 == 0 {
            return Err(FramingError::NoPacket(at));
        }
        let header =
            PacketHeader::try_from_reader(&mut rest).map_err(|_| FramingError::CutShort(at))?;
        // The other forms are for data packets only (RFC 9580 section 4.2.1.4).
        let PacketLength::Fixed(length) = header.packet_length() else {
            return Err(FramingError::NoPacket(at));
        };
        let length = usize::try_from(length).map_err(|_| FramingError::CutShort(at))?;
        let (body, behind) = rest
            .split_at_checked(length)
            .ok_or(FramingError::CutShort(at))?;
        rest = behind;
        packets.push(Framed { header, body });
    }
    Ok(packets)
}
