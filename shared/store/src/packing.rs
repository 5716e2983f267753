//! Compression of entities.
//!
//! DynamoDB bills a write by the kilobyte of its item, and twice in a transaction. The JSON of an item that is larger than one is
//! compressed where that makes the item cheaper: the deflated text stands in [`PACKED`] then, in place of `data`. Readers of entities do
//! not know which it was.

use std::cell::RefCell;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::payload::escaped_len;
use domain::{Error, Result};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::item::{Item, NewItem, text};

/// The attribute in place of `data`.
pub(crate) const PACKED: &str = "packed";
/// The size of the entity that counts in a response, in bytes.
pub(crate) const ESCAPED_LEN: &str = "carried";
/// The bytes that a write unit pays for.
const UNIT: usize = 1024;
/// The largest entity that is unpacked. An item holds 100 KB of JSON at most.
const MAX_UNPACKED: usize = 1024 * 1024;

thread_local! {
    // Their windows take hundreds of kilobytes, which would be allocated and cleared for each item.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

impl NewItem {
    /// Compresses the entity, if the item takes fewer write units then.
    pub(crate) fn packed(self) -> Self {
        self.packed_beside(0)
    }

    /// Like [`Self::packed`], for an item that has so many bytes more in attributes which are not written now.
    pub(crate) fn packed_beside(mut self, others: usize) -> Self {
        let size = size_of(&self.item) + others;
        let Some(json) = text(&self.item, "data").filter(|_| size > UNIT) else {
            return self;
        };
        let Some(packed) = pack(json.as_bytes()) else {
            return self;
        };
        let length = escaped_len(json).to_string();
        let names = PACKED.len() + ESCAPED_LEN.len() + length.len();
        let smaller = size - "data".len() - json.len() + packed.len() + names;
        if smaller.div_ceil(UNIT) < size.div_ceil(UNIT) {
            self.item.remove("data");
            let packed = AttributeValue::B(Blob::new(packed));
            self.item.insert(PACKED.to_owned(), packed);
            let length = AttributeValue::N(length);
            self.item.insert(ESCAPED_LEN.to_owned(), length);
        }
        self
    }
}

/// The JSON that was packed.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let damaged = || Error::internal("a packed entity is damaged");
    DECOMPRESS.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let mut json = Vec::with_capacity(packed.len() * 4);
        loop {
            if json.len() == json.capacity() {
                json.reserve(json.len());
            }
            let before = (inflate.total_in(), inflate.total_out());
            let read = usize::try_from(before.0).map_err(Error::internal)?;
            let status = inflate
                .decompress_vec(&packed[read..], &mut json, FlushDecompress::None)
                .map_err(Error::internal)?;
            let has_moved = (inflate.total_in(), inflate.total_out()) != before;
            match status {
                Status::StreamEnd => return Ok(json),
                _ if has_moved && json.len() <= MAX_UNPACKED => {}
                _ => return Err(damaged()),
            }
        }
    })
}

/// `None` when it does not get smaller.
fn pack(json: &[u8]) -> Option<Vec<u8>> {
    COMPRESS.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut packed = Vec::with_capacity(json.len());
        let status = deflate.compress_vec(json, &mut packed, FlushCompress::Finish);
        matches!(status, Ok(Status::StreamEnd)).then_some(packed)
    })
}

/// The size that DynamoDB bills, a few bytes aside: numbers are a little smaller there.
fn size_of(item: &Item) -> usize {
    let attributes = item.iter().map(|(name, value)| {
        name.len()
            + match value {
                AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
                AttributeValue::B(bytes) => bytes.as_ref().len(),
                _ => 0,
            }
    });
    attributes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_what_is_damaged_is_refused() {
        for length in [100, 1_000, 100_000] {
            let json = "\"a text that repeats itself\"".repeat(length / 10 + 1);
            let packed = pack(json.as_bytes()).unwrap();
            assert_eq!(unpack(&packed).unwrap(), json.as_bytes());
            let cut = &packed[..packed.len() - 1];
            assert!(unpack(cut).is_err());
        }
        let bomb = pack(&vec![b'x'; 10 * MAX_UNPACKED]).unwrap();
        assert!(unpack(&bomb).is_err());
    }
}
